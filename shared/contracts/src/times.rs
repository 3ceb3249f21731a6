//! When each stage was done with an image.

use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch at which each stage was done with the image; absent until it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The timestamp of the notification's record in `ingest`.
    pub notified_ms: i64,
    /// When ingest was done with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingested_ms: Option<i64>,
    /// When preprocess was done with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessed_ms: Option<i64>,
    /// When infer was done with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred_ms: Option<i64>,
    /// When postprocess was done with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postprocessed_ms: Option<i64>,
}

/// The wall clock in milliseconds since the Unix epoch; 0 where the clock is before it.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
