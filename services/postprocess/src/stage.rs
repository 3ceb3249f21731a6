//! The stage: turns a prediction into a thumbnail and a result event.

use crate::Thumbnails;
use anyhow::Context as _;
use bytes::Bytes;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use sightline_contracts::{PredictionMessage, Reason, ResultEvent, Thumbnail, Topic, now_ms};
use sightline_storage::{
    self as storage, Error as StorageError, Metered, Objects, StorageSettings, Store,
};
use sightline_stream::{Outcome, Output, Record, Stage, with_causes};
use sightline_telemetry::Telemetry;
use std::sync::Arc;

/// The stage, with its S3 client.
pub struct Postprocess {
    store: Arc<dyn Objects>,
    thumbnails: Thumbnails,
    stored: Counter,
}

impl Postprocess {
    /// Connects to S3 and makes the stage.
    ///
    /// # Errors
    /// If no S3 client can be made.
    pub async fn start(
        settings: StorageSettings,
        thumbnails: Thumbnails,
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let store = Store::connect(&settings).await.context("can't set up S3")?;
        let store = Metered::new(store, telemetry.declared(storage::Metrics::register));
        Ok(Self::new(
            Arc::new(store),
            thumbnails,
            &mut telemetry.registry(),
        ))
    }

    /// The stage on an object store.
    pub fn new(store: Arc<dyn Objects>, thumbnails: Thumbnails, registry: &mut Registry) -> Self {
        let stored = Counter::default();
        registry.register(
            "sightline_postprocess_thumbnails",
            "Thumbnails stored",
            stored.clone(),
        );
        Self {
            store,
            thumbnails,
            stored,
        }
    }

    /// Stores a thumbnail. A key that S3 does not accept rejects the image. Other errors, after the SDK's own retries, may
    /// be corrected by an operator (a missing bucket, rights, credentials), so they are retried until the attempts are
    /// used up or the circuit opens.
    async fn put(&self, to: &Thumbnail, png: Bytes) -> Result<(), Outcome> {
        match self.store.put(&to.bucket, &to.key, png, "image/png").await {
            Ok(_) => {
                self.stored.inc();
                Ok(())
            }
            Err(error @ StorageError::Invalid { .. }) => {
                Err(Outcome::reject(Reason::InvalidKey, with_causes(&error)))
            }
            Err(error) => Err(Outcome::retry(with_causes(&error))),
        }
    }
}

impl Stage for Postprocess {
    async fn process(&self, record: Record) -> Outcome {
        let value = record.value.clone().unwrap_or_default();
        let PredictionMessage {
            mut image,
            model,
            labels,
            thumbnail,
        } = match PredictionMessage::decode(&value) {
            Ok(message) => message,
            Err(error) => return Outcome::reject(Reason::Malformed, with_causes(&error)),
        };
        record
            .span
            .record("image_id", tracing::field::display(image.id));
        let location = self.thumbnails.location(&image, &labels[0]);
        if let Some(to) = &location
            && let Err(outcome) = self.put(to, thumbnail).await
        {
            return outcome;
        }
        image.times.postprocessed_ms = Some(now_ms());
        let (key, notified_ms) = (image.record_key(), image.times.notified_ms);
        let event = ResultEvent {
            image,
            model,
            labels,
            thumbnail: location,
        };
        Outcome::Done(vec![
            Output::new(Topic::Results, Some(key.into()), event.to_json()).notified_at(notified_ms),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_contracts::{ImageId, ImageRef, Label, ModelInfo, Times};
    use sightline_storage::Memory;

    fn thumbnail_key() -> String {
        let id = ImageId::new("photos", "a b.jpg", "v");
        format!("small/a b.jpg_{id}_thumb.png")
    }

    fn prediction(label: &str) -> Record {
        prediction_in("photos", label)
    }

    fn prediction_in(bucket: &str, label: &str) -> Record {
        let message = PredictionMessage {
            image: ImageRef {
                id: ImageId::new("photos", "a b.jpg", "v"),
                bucket: bucket.into(),
                key: "a b.jpg".into(),
                version: None,
                etag: None,
                size: None,
                event_time: None,
                times: Times::default(),
            },
            model: ModelInfo {
                name: "m".into(),
                architecture: "resnet18".into(),
                weights_sha256: "0".into(),
            },
            labels: vec![Label {
                class: 3,
                label: label.into(),
                probability: 0.5,
            }],
            thumbnail: Bytes::from_static(b"png"),
        };
        Record::new(Topic::Predictions, None, Some(message.encode().into()))
    }

    async fn postprocess(filter: &[&str], record: Record) -> (Outcome, Memory) {
        let store = Memory::default();
        store.create_bucket("photos").await.unwrap();
        let thumbnails = Thumbnails {
            thumbnail_prefix: "small/".into(),
            thumbnail_bucket: None,
            label_filter: filter.iter().map(|text| (*text).to_owned()).collect(),
        };
        let stage = Postprocess::new(
            Arc::new(store.clone()),
            thumbnails,
            &mut Registry::default(),
        );
        (stage.process(record).await, store)
    }

    fn event(outcome: Outcome) -> ResultEvent {
        let Outcome::Done(outputs) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((outputs.len(), outputs[0].topic.as_str()), (1, "results"));
        assert_eq!(outputs[0].key.as_deref(), Some(&b"photos/a b.jpg"[..]));
        ResultEvent::from_json(outputs[0].value.as_deref().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn stores_the_thumbnail_and_writes_its_location() {
        let (outcome, store) = postprocess(&[], prediction("traffic light red")).await;
        let stored = event(outcome).thumbnail.unwrap();
        assert_eq!(
            (stored.bucket.as_str(), stored.key.as_str()),
            ("photos", thumbnail_key().as_str())
        );
        assert_eq!(
            store
                .get(&stored.bucket, &stored.key, None, 10)
                .await
                .unwrap()
                .bytes,
            "png"
        );
    }

    #[tokio::test]
    async fn the_label_filter_omits_thumbnails_but_not_results() {
        let (outcome, _) =
            postprocess(&["traffic light", "stop"], prediction("traffic light red")).await;
        assert!(event(outcome).thumbnail.is_some());
        let (outcome, store) = postprocess(&["traffic light", "stop"], prediction("bus")).await;
        assert_eq!(event(outcome).thumbnail, None);
        assert!(
            store
                .get("photos", &thumbnail_key(), None, 10)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn an_invalid_key_is_rejected_and_other_errors_are_retried() {
        let (outcome, _) = postprocess(&[], prediction_in("no/bucket", "bus")).await;
        assert!(matches!(outcome, Outcome::Reject(why) if why.reason == Reason::InvalidKey));
        let (outcome, _) = postprocess(&[], prediction_in("missing", "bus")).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn bytes_that_are_no_prediction_are_rejected() {
        let (outcome, _) =
            postprocess(&[], Record::new(Topic::Predictions, None, Some("?".into()))).await;
        assert!(
            matches!(outcome, Outcome::Reject(rejection) if rejection.reason == Reason::Malformed)
        );
    }
}
