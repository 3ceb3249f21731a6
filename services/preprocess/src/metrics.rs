//! Metrics of fetching and decoding. The loop of `sightline-stream` has the others.

use crate::recipe::Took;
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Clones share their values.
#[derive(Debug, Clone)]
pub(crate) struct PictureMetrics {
    pub(crate) fetch: Histogram,
    pub(crate) decode: Histogram,
    pub(crate) resize: Histogram,
    pub(crate) thumbnail: Histogram,
    pub(crate) fetched: Counter,
    pub(crate) held: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) decode_memory: Gauge,
    pub(crate) deaths: Deaths,
}

/// Decoders that died, by cause.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deaths(Family<[(&'static str, &'static str); 1], Counter>);

impl Deaths {
    /// The values of the label `cause`.
    const CAUSES: [&str; 4] = ["crash", "memory", "time", "outside"];

    #[cfg(target_os = "linux")]
    pub(crate) fn count(&self, failure: &sightline_sandbox::Failure) {
        use sightline_sandbox::Failure;
        let [crash, memory, time, outside] = Self::CAUSES;
        let cause = match failure {
            Failure::Crashed(_) => crash,
            Failure::Memory { .. } => memory,
            Failure::Time(_) => time,
            Failure::Killed(_) | Failure::Io(_) => outside,
            Failure::Panicked(_) => return,
        };
        self.of(cause).inc();
    }

    fn of(&self, cause: &'static str) -> Counter {
        self.0.get_or_create(&[("cause", cause)]).clone()
    }
}

impl PictureMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Self {
            fetch: seconds(),
            decode: seconds(),
            resize: seconds(),
            thumbnail: seconds(),
            fetched: Counter::default(),
            held: Gauge::default(),
            queued: Gauge::default(),
            decode_memory: Gauge::default(),
            deaths: Deaths::default(),
        };
        // An alert needs the value 0 before the first death.
        for cause in Deaths::CAUSES {
            metrics.deaths.of(cause);
        }
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
        registry.register_with_unit(
            "decode_memory",
            "Memory set aside for images that are decoded, beyond what each decoder has; bounded by --decode-memory",
            Unit::Bytes,
            metrics.decode_memory.clone(),
        );
        registry.register(
            "decoder_deaths",
            "Decoders that died, by what of; each but those killed from outside is a dead letter",
            metrics.deaths.0.clone(),
        );
        registry.register(
            "queued_images",
            "Images that wait for a thread or are worked on; the wait is bounded by --decode-queue",
            metrics.queued.clone(),
        );
        metrics
    }

    pub(crate) fn took(&self, took: &Took) {
        for (histogram, took) in [
            (&self.decode, took.decode),
            (&self.resize, took.resize),
            (&self.thumbnail, took.thumbnail),
        ] {
            histogram.observe(took.as_secs_f64());
        }
    }
}
