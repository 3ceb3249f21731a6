//! Amazon's event message, as MinIO and Ceph publish it too.
//!
//! Structure: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
//! The key is form-encoded once: `+` is a blank, `%2B` a plus.

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

/// A message, as far as it is read.
#[derive(Debug, Default)]
struct Message {
    records: Option<Records>,
    /// What kind of event, in a message without records.
    event: Option<Box<RawValue>>,
}

/// Reads a message with at most so many records.
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
    /// Of any type: a wrong one is no reason to refuse the record.
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

/// The records of a message; none for a test event.
pub fn entries(text: &str, max_records: usize) -> Result<Vec<Entry>, Rejection> {
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
        None if says(message.event.as_deref(), "s3:TestEvent") => Ok(Vec::new()),
        None => Err(malformed("neither \"Records\" nor a test event")),
    }
}

/// Whether the JSON is this string.
fn says(json: Option<&RawValue>, text: &str) -> bool {
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
            Some(name) if versity::writes(&name) => as_it_stands,
            _ => form_decoded,
        };
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

    /// As if they had not been there; a parser that builds them, or calls itself for each level, would end here.
    #[test]
    fn what_nobody_reads_may_be_nested_as_deep_as_it_likes() {
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
    fn a_configuration_of_another_type_is_passed_over() {
        let mut record = put("a+b");
        record["s3"]["configurationId"] = json!({ "name": ["webhook-global"] });
        assert_eq!(event(record).unwrap().key, "a b");
    }

    #[test]
    fn what_follows_the_message_makes_it_no_json() {
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
