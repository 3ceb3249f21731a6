//! Parses notifications of object changes. Each publisher's dialect has a module; all give the same [`Event`].

mod aws;
mod records;
mod versity;

use serde_json::value::RawValue;
use sightline_contracts::{ImageId, ImageRef, Reason, Times, now_ms};
use sightline_stream::Rejection;

/// One change of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// As published: `s3:ObjectCreated:Put` or `ObjectCreated:Put`.
    pub name: String,
    /// The bucket that the object is in.
    pub bucket: String,
    /// The object's key, decoded.
    pub key: String,
    /// The object's size in bytes. Absent if the publisher gives none, or 0: some write 0 for copies and multipart
    /// uploads.
    pub size: Option<u64>,
    /// The entity tag, without quotes.
    pub etag: Option<String>,
    /// The object's version; absent in an unversioned bucket.
    pub version: Option<String>,
    /// The publisher's text that orders the events of one key.
    pub sequencer: Option<String>,
    /// When the event happened, in RFC 3339.
    pub time: Option<String>,
}

/// One record of a notification: its event, or why it cannot be read, and its JSON for a dead letter.
#[derive(Debug)]
pub struct Entry {
    /// The event, or why the record cannot be read.
    pub event: Result<Event, Rejection>,
    record: Box<RawValue>,
}

impl Entry {
    /// A notification that contains only this record.
    pub fn alone(&self) -> String {
        format!("{{\"Records\":[{}]}}", self.record)
    }
}

/// Parses a notification of at most `max_records` records. A test event gives no entries.
///
/// The memory it needs is proportional to the length of `bytes`, whatever they contain: values that are not needed are
/// skipped and not stored.
///
/// # Errors
/// A [`Rejection`] with the reason `malformed` if `bytes` are no notification, or `too-large` if it has more records.
pub fn parse(bytes: &[u8], max_records: usize) -> Result<Vec<Entry>, Rejection> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| malformed(format!("not JSON: {error}")))?;
    aws::entries(text, max_records)
}

impl Event {
    /// Whether the event created an object: by a put, a copy or the completion of a multipart upload.
    pub fn creates(&self) -> bool {
        self.name
            .strip_prefix("s3:")
            .unwrap_or(&self.name)
            .starts_with("ObjectCreated:")
    }

    /// The reference that the other stages receive. `notified_ms` is the notification's time in milliseconds since the
    /// Unix epoch.
    pub fn into_image(self, notified_ms: i64) -> ImageRef {
        let revision = match &self.version {
            Some(version) => version.clone(),
            None => [&self.etag, &self.sequencer]
                .map(|part| part.as_deref().unwrap_or_default())
                .join("/"),
        };
        ImageRef {
            id: ImageId::new(&self.bucket, &self.key, &revision),
            bucket: self.bucket,
            key: self.key,
            version: self.version,
            etag: self.etag,
            size: self.size,
            event_time: self.time,
            times: Times {
                notified_ms,
                ingested_ms: Some(now_ms()),
                ..Times::default()
            },
        }
    }
}

fn malformed(error: impl Into<String>) -> Rejection {
    Rejection {
        reason: Reason::Malformed,
        error: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: Option<&str>, sequencer: &str) -> ImageRef {
        Event {
            bucket: "photos".into(),
            key: "a.jpg".into(),
            etag: Some("e".into()),
            version: version.map(str::to_owned),
            sequencer: Some(sequencer.into()),
            ..Event::default()
        }
        .into_image(1)
    }

    #[test]
    fn a_repeated_delivery_has_the_same_id_and_another_write_another_id() {
        assert_eq!(image(None, "1").id, image(None, "1").id);
        assert_ne!(image(None, "1").id, image(None, "2").id);
        assert_eq!(image(Some("v"), "1").id, image(Some("v"), "2").id);
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        for bytes in [&b"\xff"[..], b"", b"[]", b"7", b"{}", b"null"] {
            assert_eq!(
                parse(bytes, 10).unwrap_err().reason,
                Reason::Malformed,
                "{bytes:?}"
            );
        }
    }
}
