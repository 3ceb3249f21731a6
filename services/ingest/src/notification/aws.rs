//! Amazon's event message, as MinIO and Ceph publish it too.
//!
//! Structure: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
//! The key is form-encoded once: `+` is a blank, `%2B` a plus.

use super::{Entry, Event, malformed, versity};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use sightline_contracts::Reason;
use sightline_stream::Rejection;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    event_time: Option<String>,
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    key: String,
    size: Option<u64>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// The records of a message; none for a test event.
pub fn entries(message: Value) -> Result<Vec<Entry>, Rejection> {
    let Value::Object(mut fields) = message else {
        return Err(malformed("not a JSON object"));
    };
    match fields.remove("Records") {
        Some(Value::Array(records)) => Ok(records.into_iter().map(entry).collect()),
        None if fields.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") => {
            Ok(Vec::new())
        }
        None => Err(malformed("neither \"Records\" nor a test event")),
        Some(_) => Err(malformed("\"Records\" is not an array")),
    }
}

fn entry(record: Value) -> Entry {
    let decode = match versity::wrote(&record) {
        true => as_it_stands,
        false => form_decoded,
    };
    let event = Record::deserialize(&record)
        .map_err(|error| malformed(error.to_string()))
        .and_then(|record| record.event(decode));
    Entry {
        event,
        json: json!({ "Records": [record] }),
    }
}

impl Record {
    fn event(self, decode: fn(&str) -> Result<String, Rejection>) -> Result<Event, Rejection> {
        let object = self.s3.object;
        Ok(Event {
            name: self.event_name,
            bucket: self.s3.bucket.name,
            key: decode(&object.key)?,
            size: object.size.filter(|size| *size > 0),
            etag: said(object.e_tag).map(|etag| etag.trim_matches('"').to_owned()),
            version: said(object.version_id).filter(|version| version != "null"),
            sequencer: said(object.sequencer),
            time: said(self.event_time),
        })
    }
}

/// An empty text says nothing.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn as_it_stands(key: &str) -> Result<String, Rejection> {
    Ok(key.to_owned())
}

fn form_decoded(key: &str) -> Result<String, Rejection> {
    let blanks = key.replace('+', " ");
    percent_decode_str(&blanks)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| Rejection {
            reason: Reason::InvalidKey,
            error: format!("the key {key:?} is not UTF-8 once decoded"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(record: Value) -> Result<Event, Rejection> {
        let mut entries = entries(json!({ "Records": [record] })).unwrap();
        assert_eq!(entries.len(), 1);
        entries.remove(0).event
    }

    fn put(key: &str) -> Value {
        json!({
            "eventName": "s3:ObjectCreated:Put", "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {
                "bucket": { "name": "photos" },
                "object": { "key": key, "size": 7, "eTag": "\"e\"", "versionId": "null", "sequencer": "17A" },
            },
        })
    }

    #[test]
    fn a_key_is_form_decoded_once() {
        assert_eq!(
            event(put("a+b%2F%C3%BC%2B1%252F.jpg")).unwrap().key,
            "a b/ü+1%2F.jpg"
        );
    }

    #[test]
    fn a_key_that_is_not_utf8_is_refused() {
        assert_eq!(event(put("%FF")).unwrap_err().reason, Reason::InvalidKey);
    }

    #[test]
    fn created_objects_only_with_or_without_the_service() {
        for (name, creates) in [
            ("s3:ObjectCreated:Put", true),
            ("ObjectCreated:CompleteMultipartUpload", true),
            ("s3:ObjectRemoved:Delete", false),
            ("s3:ObjectAccessed:Get", false),
        ] {
            let mut record = put("a");
            record["eventName"] = name.into();
            assert_eq!(event(record).unwrap().creates(), creates, "{name}");
        }
    }

    #[test]
    fn what_says_nothing_is_absent() {
        let found = event(put("a")).unwrap();
        assert_eq!(
            (found.etag.as_deref(), found.version.as_deref()),
            (Some("e"), None)
        );
        let mut record = put("a");
        record["s3"]["object"] = json!({ "key": "a", "size": 0, "eTag": "" });
        let found = event(record).unwrap();
        assert_eq!(
            (found.size, found.etag, found.sequencer),
            (None, None, None)
        );
    }

    #[test]
    fn a_bad_record_leaves_its_neighbours_alone() {
        let message =
            json!({ "Records": [put("a"), { "eventName": "s3:ObjectCreated:Put" }, put("b")] });
        let read: Vec<_> = entries(message)
            .unwrap()
            .into_iter()
            .map(|entry| entry.event.is_ok())
            .collect();
        assert_eq!(read, [true, false, true]);
    }

    #[test]
    fn a_test_event_announces_nothing() {
        assert!(
            entries(json!({ "Event": "s3:TestEvent", "Bucket": "photos" }))
                .unwrap()
                .is_empty()
        );
        assert!(entries(json!({ "Records": [] })).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn every_key_survives_encoding(key in "\\PC{1,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(event(put(&encoded.replace("%20", "+"))).unwrap().key, key);
        }
    }
}
