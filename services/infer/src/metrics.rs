//! Metrics of the model's batches. The loop of `sightline-stream` has the others.

use prometheus_client::{
    metrics::{
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use sightline_model::Batch;

/// Sizes and times of batches, and the length of the model's queue. Clones share their values.
#[derive(Debug, Clone)]
pub struct BatchMetrics {
    images: Histogram,
    queue_wait: Histogram,
    compute: Histogram,
    waiting: Gauge,
}

impl BatchMetrics {
    /// Metrics that `registry` exports.
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Self {
            images: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            queue_wait: seconds(),
            compute: seconds(),
            waiting: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("sightline_infer");
        registry.register(
            "batch_images",
            "Images computed together",
            metrics.images.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "Longest time an image of a batch waited for the model",
            Unit::Seconds,
            metrics.queue_wait.clone(),
        );
        registry.register_with_unit(
            "model",
            "Time the model took for a batch",
            Unit::Seconds,
            metrics.compute.clone(),
        );
        registry.register(
            "queued_images",
            "Images that wait for the model",
            metrics.waiting.clone(),
        );
        metrics
    }

    /// Records one batch.
    pub fn observe(&self, batch: Batch) {
        self.images.observe(batch.size as f64);
        self.queue_wait.observe(batch.queue_wait.as_secs_f64());
        self.compute.observe(batch.compute_time.as_secs_f64());
    }

    /// Sets the number of images that wait for the model.
    pub fn waiting(&self, images: usize) {
        self.waiting.set(images as i64);
    }
}
