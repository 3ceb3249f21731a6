//! Wall-clock milliseconds, as Kafka counts them.

use std::time::{SystemTime, UNIX_EPOCH};

pub fn now_ms() -> i64 {
    millis(SystemTime::now())
}

pub fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|d| i64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}
