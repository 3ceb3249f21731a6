//! The stage: turns a notification into image references.

use crate::{
    admission::{Admission, Verdict},
    notification::{self, Entry},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use sightline_contracts::{ImageRef, Topic};
use sightline_stream::{Outcome, Output, Record, Rejection, Stage};

/// The stage, with its admission rules.
pub struct Ingest {
    admission: Admission,
    skipped: Counter,
}

impl Ingest {
    /// A stage whose metrics are registered in `registry`.
    pub fn new(admission: Admission, registry: &mut Registry) -> Self {
        let skipped = Counter::default();
        let help = "Events that announce no new image: removals, accesses, thumbnails";
        registry.register("sightline_ingest_events_skipped", help, skipped.clone());
        Self { admission, skipped }
    }

    /// A stage whose metrics are not registered, for tests.
    pub fn unregistered(admission: Admission) -> Self {
        Self::new(admission, &mut Registry::default())
    }

    /// Processes one record, without waiting for anything.
    pub fn ingest(&self, record: &Record) -> Outcome {
        let value = record.value.as_deref().unwrap_or_default();
        let entries = match notification::parse(value, self.admission.max_records) {
            Ok(entries) => entries,
            Err(rejection) => return Outcome::Reject(rejection),
        };
        let alone = entries.len() == 1;
        let mut outputs = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.admit(&entry, record.timestamp_ms) {
                Ok(Some(image)) => outputs.push(reference(record, &image)),
                Ok(None) => drop(self.skipped.inc()),
                Err(rejection) if alone => return Outcome::Reject(rejection),
                Err(_) => outputs.push(alone_again(record, &entry)),
            }
        }
        Outcome::Done(outputs)
    }

    fn admit(&self, entry: &Entry, notified_ms: i64) -> Result<Option<ImageRef>, Rejection> {
        let event = entry.event.clone()?;
        match self.admission.judge(&event) {
            Verdict::Admit => Ok(Some(event.into_image(notified_ms))),
            Verdict::Skip => Ok(None),
            Verdict::Reject(rejection) => Err(rejection),
        }
    }
}

impl Stage for Ingest {
    async fn process(&self, record: Record) -> Outcome {
        self.ingest(&record)
    }
}

fn reference(record: &Record, image: &ImageRef) -> Output {
    record
        .span
        .record("image_id", tracing::field::display(image.id));
    Output::new(
        Topic::Images,
        Some(image.record_key().into()),
        image.to_json(),
    )
    .notified_at(image.times.notified_ms)
}

/// Writes one record of several back to `ingest` as a notification of its own, so that only this one becomes a dead
/// letter.
fn alone_again(record: &Record, entry: &Entry) -> Output {
    Output::new(Topic::Ingest, record.key.clone(), entry.alone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use sightline_contracts::{Reason, Thumbnail};

    async fn ingest(notification: &Value) -> Outcome {
        let admission = Admission {
            buckets: vec!["photos".into()],
            max_records: 3,
            max_object_bytes: 100,
            thumbnail_prefix: Thumbnail::DEFAULT_PREFIX.into(),
        };
        let stage = Ingest::unregistered(admission);
        let value = notification.to_string().into();
        stage
            .process(Record::new(Topic::Ingest, None, Some(value)))
            .await
    }

    fn put(bucket: &str, key: &str) -> Value {
        let object = json!({ "key": key, "size": 7, "eTag": "e", "sequencer": "1" });
        json!({ "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": bucket }, "object": object } })
    }

    fn topics(outcome: &Outcome) -> Vec<&str> {
        let Outcome::Done(outputs) = outcome else {
            panic!("{outcome:?}")
        };
        outputs.iter().map(|output| output.topic.as_str()).collect()
    }

    #[tokio::test]
    async fn every_record_becomes_a_reference() {
        let outcome =
            ingest(&json!({ "Records": [put("photos", "a+b"), put("photos", "c")] })).await;
        assert_eq!(topics(&outcome), ["images", "images"]);
        let Outcome::Done(outputs) = outcome else {
            unreachable!()
        };
        assert_eq!(outputs[0].key.as_deref(), Some(&b"photos/a b"[..]));
        let image = ImageRef::from_json(outputs[0].value.as_deref().unwrap()).unwrap();
        assert_eq!((image.key.as_str(), image.size), ("a b", Some(7)));
    }

    #[tokio::test]
    async fn a_bad_record_among_good_ones_is_rejected_alone() {
        let outcome = ingest(&json!({ "Records": [put("photos", "a"), put("other", "b")] })).await;
        assert_eq!(topics(&outcome), ["images", "ingest"]);
        let Outcome::Done(outputs) = outcome else {
            unreachable!()
        };
        let again: Value = serde_json::from_slice(outputs[1].value.as_deref().unwrap()).unwrap();
        let outcome = ingest(&again).await;
        assert!(matches!(outcome, Outcome::Reject(r) if r.reason == Reason::BucketNotAllowed));
    }

    #[tokio::test]
    async fn one_record_too_many_rejects_the_whole_notification() {
        let records = vec![put("photos", "a"); 4];
        let outcome = ingest(&json!({ "Records": records })).await;
        assert!(matches!(outcome, Outcome::Reject(r) if r.reason == Reason::TooLarge));
    }

    #[tokio::test]
    async fn the_pipelines_own_thumbnails_have_no_outputs() {
        let outcome =
            ingest(&json!({ "Records": [put("photos", "thumbnails/a.jpg_thumb.png")] })).await;
        assert!(topics(&outcome).is_empty());
    }
}
