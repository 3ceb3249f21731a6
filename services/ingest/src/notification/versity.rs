//! The event message of VersityGW v1.8.0. It has the structure of Amazon's message, with other values.
//!
//! - The key is not encoded: a `+` is a plus and `%2F` is three characters
//!   ([`createEventSchema`](https://github.com/versity/versitygw/blob/v1.8.0/s3event/event.go) takes it from the path).
//! - The size is 0 for copies and multipart uploads, the etag is in quotes, and the version may be null or empty.
//! - The sequencer counts from 1 at each start of the gateway. Two writes of a key can therefore have the same
//!   sequencer; their etags differ if their contents do.
//! - The Kafka messages have no key and arrive in any order. The first message of a gateway is a test event.

/// The values of `configurationId` that the gateway writes, one for each kind of target.
const CONFIGURATIONS: [&str; 4] = [
    "kafka-global",
    "nats-global",
    "rabbitmq-global",
    "webhook-global",
];

/// Whether a record with this `configurationId` comes from the gateway.
pub(crate) fn writes(configuration: &str) -> bool {
    CONFIGURATIONS.contains(&configuration)
}

#[cfg(test)]
mod tests {
    use super::super::{Event, parse};
    use serde_json::json;

    /// The message that v1.8.0 wrote into Kafka, with another value of `object`.
    fn event(object: serde_json::Value) -> Event {
        let message = json!({ "Records": [{
            "eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-11-25T15:04:05Z", "eventName": "s3:ObjectCreated:Put",
            "userIdentity": { "PrincipalId": "sightline" },
            "requestParameters": { "sourceIPAddress": "127.0.0.1" },
            "responseElements": { "x-amz-request-id": "", "x-amz-id-2": "" },
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": "webhook-global",
                "bucket": { "name": "images", "ownerIdentity": { "PrincipalId": "sightline" }, "arn": "arn:aws:s3:::/images/a" },
                "object": object,
            },
            "glacierEventData": { "restoreEventData": { "lifecycleRestorationExpiryTime": "", "lifecycleRestoreStorageClass": "" } },
        }]});
        let mut entries = parse(message.to_string().as_bytes(), 10).unwrap();
        entries.remove(0).event.unwrap()
    }

    #[test]
    fn a_key_is_not_decoded() {
        for key in ["a+b.jpg", "per%2Fcent%20.jpg", "a b/ü+1%2F.jpg", "100%.jpg"] {
            let object = json!({ "key": key, "size": 7, "eTag": "\"e\"", "versionId": null, "sequencer": "1" });
            assert_eq!(event(object).key, key);
        }
    }

    #[test]
    fn a_copy_has_neither_size_nor_version() {
        let object =
            json!({ "key": "a", "size": 0, "eTag": "\"e\"", "versionId": "", "sequencer": "A" });
        let found = event(object);
        assert_eq!((found.size, found.version), (None, None));
        assert_eq!(found.etag.as_deref(), Some("e"));
    }

    #[test]
    fn its_test_event_has_no_entries() {
        let test = br#"{"Bucket":"Test-Bucket","Event":"s3:TestEvent","Service":"S3","Time":"2026-11-25T15:04:05Z"}"#;
        assert!(parse(test, 10).unwrap().is_empty());
    }
}
