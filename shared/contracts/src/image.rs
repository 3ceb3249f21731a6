//! The reference that travels instead of the image.

use crate::{Error, ImageId, Times};
use serde::{Deserialize, Serialize};

/// An object in S3 that is to be classified: the message of the `images` topic, and part of every later one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRef {
    /// The identity of this revision of the object.
    pub id: ImageId,
    /// The bucket that the object is in.
    pub bucket: String,
    /// The object's key as S3 has it, no longer encoded.
    pub key: String,
    /// The object's version, in a versioned bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The entity tag, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Bytes, as the notification said; absent where the publisher does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When S3 says it happened: RFC 3339, as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// When each stage was done with the image.
    pub times: Times,
}

impl ImageRef {
    /// The longest key that S3 accepts, in bytes of UTF-8.
    pub const MAX_KEY_BYTES: usize = 1024;
    /// The largest object that is classified, in bytes, unless a setting says otherwise.
    pub const DEFAULT_MAX_BYTES: u64 = 32 << 20;

    /// The record key of every topic this image passes: `bucket/key`. Same object, same partition, so order holds.
    pub fn record_key(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }

    /// The message's bytes: one JSON object, as `schemas/image-ref.schema.json` describes it.
    pub fn to_json(&self) -> Vec<u8> {
        crate::wire::json(self).into_bytes()
    }

    /// Reads a message; fields it does not know are ignored.
    ///
    /// # Errors
    /// [`Error::Json`] where the bytes are not JSON, or a field is missing or has the wrong type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(Error::Json)
    }
}
