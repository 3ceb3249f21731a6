//! The record of an object: everything but its content.

use s3s::dto::{ETag, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The headers that a client stored with the object, returned when it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Properties {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_disposition: Option<String>,
    pub content_language: Option<String>,
    pub cache_control: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub expires_ms: Option<i64>,
    /// The `x-amz-meta-` headers, without that prefix.
    pub metadata: BTreeMap<String, String>,
}

/// The small file that makes content visible under its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub key: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// The number of the write; higher for every later write of the store.
    pub sequencer: u64,
    /// Milliseconds since the Unix epoch.
    pub written_ms: i64,
    pub properties: Properties,
}

impl Record {
    pub fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    pub fn written(&self) -> Timestamp {
        timestamp(self.written_ms)
    }
}

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Timestamp::from(UNIX_EPOCH + since)
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
