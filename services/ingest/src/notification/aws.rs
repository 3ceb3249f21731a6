//! The event message of Amazon S3, which MinIO and Ceph publish too.
//!
//! Structure: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
//! The key is form-encoded once: `+` is a space, `%2B` is a plus.

use super::{
    Entry, Event, malformed,
    records::{AtMost, Records},
    versity,
};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sightline_contracts::Reason;
use sightline_stream::Rejection;
use std::fmt;

/// The fields of a message that are read.
#[derive(Debug, Default)]
struct Message {
    records: Option<Records>,
    /// The kind of event, in a message without records.
    event: Option<Box<RawValue>>,
}

/// Deserializes a message with at most this many records.
struct Reading(AtMost);

impl<'de> Visitor<'de> for Reading {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a notification")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Message, A::Error> {
        let mut message = Message::default();
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "Records" => message.records = Some(fields.next_value_seed(self.0)?),
                "Event" => message.event = Some(fields.next_value()?),
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(message)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    event_name: String,
    event_time: Option<String>,
    #[serde(borrow)]
    s3: S3<'a>,
}

#[derive(Deserialize)]
struct S3<'a> {
    bucket: Bucket,
    object: Object,
    /// A string from every known publisher. A value of another type must not make the record invalid.
    #[serde(borrow, rename = "configurationId")]
    configuration: Option<&'a RawValue>,
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

/// The records of a message; empty for a test event.
pub(crate) fn entries(text: &str, max_records: usize) -> Result<Vec<Entry>, Rejection> {
    let not_json = |error: serde_json::Error| malformed(format!("not a notification: {error}"));
    let mut json = serde_json::Deserializer::from_str(text);
    let message = json
        .deserialize_map(Reading(AtMost(max_records)))
        .map_err(not_json)?;
    json.end().map_err(not_json)?;
    match message.records {
        Some(Records::Few(records)) => Ok(records.into_iter().map(entry).collect()),
        Some(Records::TooMany) => Err(Rejection {
            reason: Reason::TooLarge,
            error: format!("the notification has more records than --max-records {max_records}"),
        }),
        None if is_string(message.event.as_deref(), "s3:TestEvent") => Ok(Vec::new()),
        None => Err(malformed("neither \"Records\" nor a test event")),
    }
}

/// Whether the JSON value is this string.
fn is_string(json: Option<&RawValue>, text: &str) -> bool {
    string(json).as_deref() == Some(text)
}

fn string(json: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(json?.get()).ok()
}

fn entry(record: Box<RawValue>) -> Entry {
    let event = serde_json::from_str::<Record<'_>>(record.get())
        .map_err(|error| malformed(error.to_string()))
        .and_then(Record::event);
    Entry { event, record }
}

impl Record<'_> {
    fn event(self) -> Result<Event, Rejection> {
        let object = self.s3.object;
        let decode = match string(self.s3.configuration) {
            Some(name) if versity::writes(&name) => verbatim,
            _ => form_decoded,
        };
        Ok(Event {
            name: self.event_name,
            bucket: self.s3.bucket.name,
            key: decode(&object.key)?,
            size: object.size.filter(|size| *size > 0),
            etag: non_empty(object.e_tag).map(|etag| etag.trim_matches('"').to_owned()),
            version: non_empty(object.version_id).filter(|version| version != "null"),
            sequencer: non_empty(object.sequencer),
            time: non_empty(self.event_time),
        })
    }
}

/// Publishers write an empty string for a value that is absent.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn verbatim(key: &str) -> Result<String, Rejection> {
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
    use serde_json::{Value, json};

    fn entries(message: Value) -> Result<Vec<Entry>, Rejection> {
        super::entries(&message.to_string(), 10)
    }

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
    fn only_created_objects_count_with_or_without_the_prefix_s3() {
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
    fn empty_strings_zero_and_null_versions_are_absent() {
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
    fn a_bad_record_does_not_affect_the_others() {
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
    fn a_test_event_has_no_entries() {
        assert!(
            entries(json!({ "Event": "s3:TestEvent", "Bucket": "photos" }))
                .unwrap()
                .is_empty()
        );
        assert!(entries(json!({ "Records": [] })).unwrap().is_empty());
    }

    #[test]
    fn one_record_too_many_is_one_dead_letter() {
        let of = |count| entries(json!({ "Records": vec![json!({}); count], "Event": 1 }));
        assert_eq!(of(10).unwrap().len(), 10);
        for count in [11, 1000] {
            let refused = of(count).unwrap_err();
            assert_eq!(refused.reason, Reason::TooLarge);
            assert!(
                refused.error.contains("--max-records 10"),
                "{}",
                refused.error
            );
        }
    }

    /// A parser that built the unread values, or recursed into them, would run out of memory or stack here.
    #[test]
    fn unread_values_may_be_nested_to_any_depth() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let record = put("a").to_string();
        let more = format!("{{\"deep\":{deep},{}", &record[1..]);
        let read = super::entries(&format!("{{\"x\":{deep},\"Records\":[{more},{deep}]}}"), 10);
        let read: Vec<_> = read
            .unwrap()
            .iter()
            .map(|entry| entry.event.is_ok())
            .collect();
        assert_eq!(read, [true, false]);
    }

    #[test]
    fn a_configuration_id_that_is_no_string_is_ignored() {
        let mut record = put("a+b");
        record["s3"]["configurationId"] = json!({ "name": ["webhook-global"] });
        assert_eq!(event(record).unwrap().key, "a b");
    }

    #[test]
    fn bytes_after_the_message_make_it_malformed() {
        let refused = super::entries("{\"Records\":[]} {}", 10).unwrap_err();
        assert_eq!(refused.reason, Reason::Malformed);
    }

    proptest! {
        #[test]
        fn every_key_survives_encoding(key in "\\PC{1,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(event(put(&encoded.replace("%20", "+"))).unwrap().key, key);
        }
    }
}
