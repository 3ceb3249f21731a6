//! What the pictures cost; everything else is measured by the loop.

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::time::Instant;

/// Clones share their values.
#[derive(Debug, Clone)]
pub(crate) struct PictureMetrics {
    pub fetch: Histogram,
    pub decode: Histogram,
    pub resize: Histogram,
    pub thumbnail: Histogram,
    pub fetched: Counter,
    pub held: Gauge,
    pub queued: Gauge,
}

impl PictureMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Self {
            fetch: seconds(),
            decode: seconds(),
            resize: seconds(),
            thumbnail: seconds(),
            fetched: Counter::default(),
            held: Gauge::default(),
            queued: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("sightline_preprocess");
        for (name, help, metric) in [
            (
                "fetch",
                "Time to get an object, without waiting for room",
                &metrics.fetch,
            ),
            ("decode", "Time from bytes to pixels", &metrics.decode),
            ("resize", "Time from pixels to the tensor", &metrics.resize),
            (
                "thumbnail",
                "Time from pixels to the encoded thumbnail",
                &metrics.thumbnail,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        }
        registry.register_with_unit(
            "fetched",
            "Bytes of objects fetched",
            Unit::Bytes,
            metrics.fetched.clone(),
        );
        registry.register_with_unit(
            "held",
            "Bytes set aside for objects between their fetch and their decoding; bounded by --max-held-bytes",
            Unit::Bytes,
            metrics.held.clone(),
        );
        registry.register(
            "queued_images",
            "Images that wait for a thread or are worked on; the wait is bounded by --decode-queue",
            metrics.queued.clone(),
        );
        metrics
    }
}

/// Runs a step and notes how long it took.
pub(crate) fn timed<T>(histogram: &Histogram, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    histogram.observe(start.elapsed().as_secs_f64());
    result
}
