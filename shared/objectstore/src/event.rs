//! Notifications in the format that MinIO publishes (its `internal/event` package, `event.Log` with one record).

use crate::record::Record;
use bytes::Bytes;
use s3s::dto::TimestampFormat;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// The operation that made an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Put,
    Copy,
    CompleteMultipartUpload,
}

impl Made {
    fn event_name(self) -> &'static str {
        match self {
            Self::Put => "s3:ObjectCreated:Put",
            Self::Copy => "s3:ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "s3:ObjectCreated:CompleteMultipartUpload",
        }
    }
}

/// The client and the server of a request, as events name them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requester {
    pub access_key: String,
    pub address: String,
    pub user_agent: String,
    pub region: String,
    /// This server, as a URL.
    pub endpoint: String,
}

/// The event of a write of an object. Equal arguments give equal bytes.
pub(crate) fn created(made: Made, bucket: &str, record: &Record, by: &Requester) -> Bytes {
    let name = made.event_name();
    let content_type = record.properties.content_type.as_deref();
    let content_type = content_type.unwrap_or("binary/octet-stream");
    let metadata: Map<String, Value> = user_metadata(record, content_type)
        .into_iter()
        .map(|(key, value)| (key, value.into()))
        .collect();
    let sequencer = format!("{:016X}", record.sequencer);
    let event = json!({
        "EventName": name,
        "Key": format!("{bucket}/{}", record.key),
        "Records": [{
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": by.region,
            "eventTime": time(record),
            "eventName": name,
            "userIdentity": {"principalId": by.access_key},
            "requestParameters": {
                "principalId": by.access_key,
                "region": by.region,
                "sourceIPAddress": by.address,
            },
            "responseElements": {
                "x-amz-request-id": sequencer,
                "x-minio-origin-endpoint": by.endpoint,
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {
                    "name": bucket,
                    "ownerIdentity": {"principalId": by.access_key},
                    "arn": format!("arn:aws:s3:::{bucket}"),
                },
                "object": {
                    "key": form_encoded(&record.key),
                    "size": record.size,
                    "eTag": record.etag,
                    "contentType": content_type,
                    "userMetadata": metadata,
                    "sequencer": sequencer,
                },
            },
            "source": {"host": by.address, "port": "", "userAgent": by.user_agent},
        }],
    });
    Bytes::from(event.to_string())
}

fn user_metadata(record: &Record, content_type: &str) -> BTreeMap<String, String> {
    let own = record.properties.metadata.iter();
    let mut all: BTreeMap<_, _> = own
        .map(|(key, value)| (format!("X-Amz-Meta-{key}"), value.clone()))
        .collect();
    all.insert("content-type".to_owned(), content_type.to_owned());
    all
}

/// RFC 3339 in UTC, to the millisecond.
fn time(record: &Record) -> String {
    let mut text = Vec::new();
    // Writing to memory doesn't fail, nor does any time within the years 0 to 9999.
    let _ = record
        .written()
        .format(TimestampFormat::DateTime, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// The key as MinIO encodes it, by Go's `url.QueryEscape`: a blank is `+`, a slash `%2F`.
pub(crate) fn form_encoded(key: &str) -> String {
    encoded(key, |byte| match byte {
        b' ' => Some('+'),
        _ => None,
    })
}

/// The key for listings with `encoding-type=url`; a blank is `%20`, which every client decodes.
pub(crate) fn url_encoded(key: &str) -> String {
    encoded(key, |byte| match byte {
        b'/' => Some('/'),
        _ => None,
    })
}

fn encoded(key: &str, exception: impl Fn(u8) -> Option<char>) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => match exception(byte) {
                Some(other) => out.push(other),
                None => {
                    let _ = write!(out, "%{byte:02X}");
                }
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Properties;

    #[test]
    fn keys_as_minio_writes_them() {
        assert_eq!(form_encoded("a b/ü+1%2F.jpg"), "a+b%2F%C3%BC%2B1%252F.jpg");
        assert_eq!(url_encoded("a b/ü+1%2F.jpg"), "a%20b/%C3%BC%2B1%252F.jpg");
    }

    #[test]
    fn an_event_is_shaped_like_minios() {
        let record = Record {
            key: "in/a b.jpg".into(),
            size: 3,
            etag: "abc".into(),
            sequencer: 0x1700_0000_0000_0001,
            written_ms: 1_700_000_000_123,
            properties: Properties {
                content_type: Some("image/jpeg".into()),
                metadata: BTreeMap::from([("who".into(), "me".into())]),
                ..Properties::default()
            },
        };
        let by = Requester::default();
        let bytes = created(Made::Put, "images", &record, &by);
        assert_eq!(bytes, created(Made::Put, "images", &record, &by));
        let event: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(event["Key"], "images/in/a b.jpg");
        assert_eq!(event["EventName"], "s3:ObjectCreated:Put");
        let inner = &event["Records"][0];
        assert_eq!(inner["eventTime"], "2023-11-14T22:13:20.123Z");
        assert_eq!(inner["s3"]["object"]["key"], "in%2Fa+b.jpg");
        assert_eq!(inner["s3"]["object"]["sequencer"], "1700000000000001");
        assert_eq!(
            inner["s3"]["object"]["userMetadata"]["X-Amz-Meta-who"],
            "me"
        );
        assert_eq!(inner["s3"]["bucket"]["arn"], "arn:aws:s3:::images");
    }
}
