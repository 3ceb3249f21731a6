//! Percentiles of measured times.

use std::time::Duration;

/// The percentile at `share` (0 to 1) of sorted latencies, in milliseconds, rounded to a tenth; NaN if there are none.
pub(crate) fn percentile_ms(sorted: &[Duration], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    let at = sorted.get(index.min(sorted.len().saturating_sub(1)));
    at.map_or(f64::NAN, |latency| {
        (latency.as_secs_f64() * 1e4).round() / 10.0
    })
}
