//! [`Metered`]: any store, with its calls counted, timed and traced.

use crate::{Advice, Entry, Error, Get, Head, Object, Objects, Stored};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::{fmt, time::Instant};
use tracing::{Instrument as _, debug_span};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Get,
    Head,
    Put,
    Delete,
    CreateBucket,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::CreateBucket => "create_bucket",
        }
    }
}

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Ok,
    /// Another attempt would end the same way.
    Refused,
    /// The server or the connection failed, after the SDK's own retries.
    Failed,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        };
        text.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    operation: Operation,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: Operation,
}

/// Metrics of a process's calls to S3: their number by outcome, and their duration in seconds. Clones share the values.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Call, Counter>,
    seconds: Family<OperationLabel, Histogram>,
}

impl Metrics {
    /// Registers `sightline_s3_requests` and `sightline_s3_request_seconds`.
    pub fn register(registry: &mut Registry) -> Self {
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(buckets),
        };
        registry.register(
            "sightline_s3_requests",
            "Calls to S3, the SDK's retries included in one",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "sightline_s3_request",
            "Time of a call to S3, with the object's content and the SDK's retries",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        metrics
    }
}

/// A store whose calls are counted, timed and traced. The spans have the level `debug`, so that log lines within them
/// still show the record's span. Listings are not measured, because the caller decides when they end.
pub struct Metered<O> {
    store: O,
    metrics: Metrics,
}

impl<O: Objects> Metered<O> {
    /// Wraps `store`.
    pub fn new(store: O, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    async fn call<T>(
        &self,
        operation: Operation,
        bucket: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let span = debug_span!(
            "s3",
            otel.name = %format_args!("s3 {}", operation.as_str()),
            otel.kind = "client",
            bucket,
        );
        let start = Instant::now();
        let result = call.instrument(span).await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(error) if error.advice() == Advice::Reject => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        let seconds = start.elapsed().as_secs_f64();
        let metrics = &self.metrics;
        metrics
            .requests
            .get_or_create(&Call { operation, outcome })
            .inc();
        let label = OperationLabel { operation };
        metrics.seconds.get_or_create(&label).observe(seconds);
        result
    }
}

#[async_trait]
impl<O: Objects> Objects for Metered<O> {
    async fn fetch(&self, get: Get<'_>) -> Result<Object, Error> {
        let bucket = get.bucket;
        self.call(Operation::Get, bucket, self.store.fetch(get))
            .await
    }

    async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error> {
        let head = self.store.head(bucket, key, version);
        self.call(Operation::Head, bucket, head).await
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<Stored, Error> {
        let put = self.store.put(bucket, key, bytes, content_type);
        self.call(Operation::Put, bucket, put).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let delete = self.store.delete(bucket, key);
        self.call(Operation::Delete, bucket, delete).await
    }

    fn list(&self, bucket: &str, prefix: &str) -> BoxStream<'static, Result<Entry, Error>> {
        self.store.list(bucket, prefix)
    }

    async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        let create = self.store.create_bucket(bucket);
        self.call(Operation::CreateBucket, bucket, create).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[tokio::test]
    async fn calls_are_counted_by_how_they_ended() {
        let mut registry = Registry::default();
        let store = Metered::new(Memory::new(), Metrics::register(&mut registry));
        store.create_bucket("images").await.unwrap();
        store
            .put("images", "a", "x".into(), "text/plain")
            .await
            .unwrap();
        store.get("images", "a", None, 10).await.unwrap();
        store.get("images", "b", None, 10).await.unwrap_err();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "sightline_s3_requests_total{operation=\"get\",outcome=\"ok\"} 1",
            "sightline_s3_requests_total{operation=\"get\",outcome=\"refused\"} 1",
            "sightline_s3_requests_total{operation=\"put\",outcome=\"ok\"} 1",
            "sightline_s3_request_seconds_count{operation=\"get\"} 2",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
