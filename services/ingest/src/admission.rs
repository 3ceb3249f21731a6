//! Which objects are classified: those in the configured buckets, with a key that S3 accepts and a size within the limit.

use crate::notification::Event;
use clap::Args;
use sightline_contracts::{ImageRef, Reason, Thumbnail};
use sightline_stream::Rejection;

/// The rules. No message can extend them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Admission")]
pub struct Admission {
    /// Buckets whose images are classified, separated by commas; a notification of another bucket becomes a dead letter
    #[arg(
        long,
        env = "SIGHTLINE_BUCKETS",
        value_name = "BUCKET,…",
        value_delimiter = ',',
        default_value = "images"
    )]
    pub buckets: Vec<String>,
    /// Largest number of records in a notification; one with more becomes a single dead letter
    #[arg(
        long,
        env = "SIGHTLINE_MAX_RECORDS",
        value_name = "RECORDS",
        default_value_t = 1000
    )]
    pub max_records: usize,
    /// Largest object that is classified, as its notification says; a larger one becomes a dead letter
    #[arg(
        long,
        env = "SIGHTLINE_MAX_OBJECT_BYTES",
        value_name = "BYTES",
        default_value_t = ImageRef::DEFAULT_MAX_BYTES
    )]
    pub max_object_bytes: u64,
    /// Prefix of the pipeline's own thumbnails: objects below it whose key ends in `_thumb.png` are skipped
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_PREFIX",
        value_name = "PREFIX",
        default_value = Thumbnail::DEFAULT_PREFIX
    )]
    pub thumbnail_prefix: String,
}

/// What is done with an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The object is classified.
    Admit,
    /// The event announces no new image: an object was removed, or postprocess stored a thumbnail.
    Skip,
    /// The event becomes a dead letter.
    Reject(Rejection),
}

impl Admission {
    /// One sentence for each setting that cannot work, with the name of its flag.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.buckets.iter().any(|bucket| bucket.is_empty()) {
            found.push("--buckets: a bucket's name must not be empty".to_owned());
        }
        if self.max_records == 0 {
            found.push("--max-records: at least 1".to_owned());
        }
        if self.max_object_bytes == 0 {
            found.push("--max-object-bytes: at least 1".to_owned());
        }
        found
    }

    /// Applies the rules to one event.
    pub fn judge(&self, event: &Event) -> Verdict {
        if !event.creates() || self.is_thumbnail(&event.key) {
            return Verdict::Skip;
        }
        match self.objection(event) {
            Some((reason, error)) => Verdict::Reject(Rejection { reason, error }),
            None => Verdict::Admit,
        }
    }

    fn is_thumbnail(&self, key: &str) -> bool {
        key.starts_with(&self.thumbnail_prefix) && key.ends_with(Thumbnail::SUFFIX)
    }

    fn objection(&self, event: &Event) -> Option<(Reason, String)> {
        if !self.buckets.contains(&event.bucket) {
            let error = format!(
                "bucket {:?} is not one of --buckets {}",
                event.bucket,
                self.buckets.join(",")
            );
            return Some((Reason::BucketNotAllowed, error));
        }
        if event.key.is_empty() || event.key.len() > ImageRef::MAX_KEY_BYTES {
            let error = format!(
                "the key has {} bytes, S3 takes 1 to {}",
                event.key.len(),
                ImageRef::MAX_KEY_BYTES
            );
            return Some((Reason::InvalidKey, error));
        }
        if event.key.chars().any(char::is_control) {
            return Some((
                Reason::InvalidKey,
                format!("the key {:?} has control characters", event.key),
            ));
        }
        let size = event.size.filter(|size| *size > self.max_object_bytes)?;
        Some((
            Reason::TooLarge,
            format!(
                "{size} bytes, more than --max-object-bytes {}",
                self.max_object_bytes
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission {
            buckets: vec!["photos".into()],
            max_records: 1000,
            max_object_bytes: 100,
            thumbnail_prefix: Thumbnail::DEFAULT_PREFIX.into(),
        }
    }

    fn event(key: &str) -> Event {
        Event {
            name: "s3:ObjectCreated:Put".into(),
            bucket: "photos".into(),
            key: key.into(),
            size: Some(100),
            ..Event::default()
        }
    }

    fn reason(event: &Event) -> Option<Reason> {
        match admission().judge(event) {
            Verdict::Reject(rejection) => Some(rejection.reason),
            Verdict::Admit => None,
            Verdict::Skip => panic!("skipped: {event:?}"),
        }
    }

    #[test]
    fn admits_the_configured_buckets_and_sizes() {
        assert_eq!(reason(&event("a b/ü.jpg")), None);
        assert_eq!(
            reason(&Event {
                bucket: "other".into(),
                ..event("a")
            }),
            Some(Reason::BucketNotAllowed)
        );
        assert_eq!(
            reason(&Event {
                size: Some(101),
                ..event("a")
            }),
            Some(Reason::TooLarge)
        );
        assert_eq!(
            reason(&Event {
                size: None,
                ..event("a")
            }),
            None
        );
    }

    #[test]
    fn rejects_keys_that_s3_does_not_accept() {
        assert_eq!(reason(&event("")), Some(Reason::InvalidKey));
        assert_eq!(reason(&event("a\nb")), Some(Reason::InvalidKey));
        assert_eq!(reason(&event(&"k".repeat(1025))), Some(Reason::InvalidKey));
        assert_eq!(reason(&event(&"k".repeat(1024))), None);
    }

    #[test]
    fn skips_removals_and_the_pipelines_own_thumbnails() {
        let removed = Event {
            name: "s3:ObjectRemoved:Delete".into(),
            ..event("a")
        };
        assert_eq!(admission().judge(&removed), Verdict::Skip);
        assert_eq!(
            admission().judge(&event("thumbnails/a.jpg_thumb.png")),
            Verdict::Skip
        );
        assert_eq!(
            admission().judge(&event("thumbnails/holiday.png")),
            Verdict::Admit
        );
    }
}
