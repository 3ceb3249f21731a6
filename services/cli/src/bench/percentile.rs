//! Percentiles of measured times.

use std::time::Duration;

/// The percentile at that share (0 to 1) of sorted latencies, in milliseconds to a tenth; NaN where there are none.
pub fn percentile_ms(sorted: &[Duration], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    let at = sorted.get(place.min(sorted.len().saturating_sub(1)));
    at.map_or(f64::NAN, |latency| {
        (latency.as_secs_f64() * 1e4).round() / 10.0
    })
}
