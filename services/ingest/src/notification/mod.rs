//! What publishers write when an object changes, a module for each dialect, brought to one form: [`Event`].

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
    pub bucket: String,
    /// Decoded.
    pub key: String,
    /// Bytes; absent where the publisher says nothing or 0, which some say of copies and multipart uploads.
    pub size: Option<u64>,
    /// Without quotes.
    pub etag: Option<String>,
    /// Absent in an unversioned bucket.
    pub version: Option<String>,
    pub sequencer: Option<String>,
    /// RFC 3339.
    pub time: Option<String>,
}

/// One record of a notification: its event or why it can't be read, and its own JSON for a dead letter.
#[derive(Debug)]
pub struct Entry {
    pub event: Result<Event, Rejection>,
    record: Box<RawValue>,
}

impl Entry {
    /// A notification of this record alone.
    pub fn alone(&self) -> String {
        format!("{{\"Records\":[{}]}}", self.record)
    }
}

/// Reads a notification of at most `max_records` records; one that announces nothing (a test event) has no entries.
///
/// Takes memory in the order of `bytes`, whatever is in them: what nobody asks for is passed over, not built.
pub fn parse(bytes: &[u8], max_records: usize) -> Result<Vec<Entry>, Rejection> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| malformed(format!("not JSON: {error}")))?;
    aws::entries(text, max_records)
}

impl Event {
    /// Whether an object came to be: put, copied, completed from parts.
    pub fn creates(&self) -> bool {
        self.name
            .strip_prefix("s3:")
            .unwrap_or(&self.name)
            .starts_with("ObjectCreated:")
    }

    /// The reference that goes down the pipeline.
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
    fn the_same_delivery_is_the_same_image_and_another_write_another() {
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
