//! What the loop measures. Each metric is declared once, here, as `sightline_<service>_<what>_<unit>`.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use sightline_contracts::Reason;
use std::{fmt, time::Duration};

/// How an attempt at a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Committed with its outputs.
    Done,
    /// Committed as a dead letter.
    Rejected,
    /// To be tried again.
    Retried,
    /// Given up: its partition was revoked, or its transaction aborted; somebody reads it again.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: ReasonValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ReasonValue(Reason);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    partition: i32,
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let text = match self {
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        };
        text.encode(encoder)
    }
}

impl EncodeLabelValue for ReasonValue {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

/// The loop's metrics. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    records: Family<OutcomeLabel, Counter>,
    dead_letters: Family<ReasonLabel, Counter>,
    attempt: Histogram,
    commit_latency: Histogram,
    end_to_end: Histogram,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) in_flight_records: Gauge,
    commit_time: Histogram,
    commit_records: Histogram,
    pub(crate) aborts: Counter,
    pub(crate) recycles: Counter,
    pub(crate) rebalances: Counter,
    circuit_open: Gauge,
    lag: Family<PartitionLabel, Gauge>,
}

impl Metrics {
    /// Metrics that nobody reads, for tests and benches.
    pub fn unregistered() -> Self {
        let millis = |max: u16| Histogram::new(exponential_buckets(0.001, 2.0, max));
        Self {
            records: Family::default(),
            dead_letters: Family::default(),
            attempt: millis(17),
            commit_latency: millis(17),
            end_to_end: millis(20),
            in_flight_bytes: Gauge::default(),
            in_flight_records: Gauge::default(),
            commit_time: millis(15),
            commit_records: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            aborts: Counter::default(),
            recycles: Counter::default(),
            rebalances: Counter::default(),
            circuit_open: Gauge::default(),
            lag: Family::default(),
        }
    }

    /// Declares the metrics of one service's loop.
    pub fn register(registry: &mut Registry, service: &str) -> Self {
        let m = Self::unregistered();
        let registry = registry.sub_registry_with_prefix(format!("sightline_{service}"));
        for reason in Reason::ALL {
            drop(m.dead_letters.get_or_create(&ReasonLabel {
                reason: ReasonValue(*reason),
            }));
        }
        for outcome in [Kind::Done, Kind::Rejected, Kind::Retried, Kind::Dropped] {
            drop(m.records.get_or_create(&OutcomeLabel { outcome }));
        }
        let mut seconds = |name: &str, help: &str, metric: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        };
        seconds("attempt", "Time one attempt at a record took", &m.attempt);
        seconds(
            "record",
            "Time from receiving a record to its commit",
            &m.commit_latency,
        );
        seconds(
            "end_to_end",
            "Time from the notification to the commit of what this service made of it",
            &m.end_to_end,
        );
        seconds("commit", "Time a transaction took", &m.commit_time);
        registry.register(
            "records",
            "Records by how they, or an attempt at them, ended",
            m.records.clone(),
        );
        registry.register(
            "dead_letters",
            "Dead letters written, by reason",
            m.dead_letters.clone(),
        );
        registry.register_with_unit(
            "in_flight",
            "Bytes of records taken and not yet committed, outputs included",
            Unit::Bytes,
            m.in_flight_bytes.clone(),
        );
        registry.register(
            "in_flight_records",
            "Records taken and not yet committed",
            m.in_flight_records.clone(),
        );
        registry.register(
            "commit_records",
            "Records committed by one transaction",
            m.commit_records.clone(),
        );
        registry.register("aborts", "Transactions given up", m.aborts.clone());
        registry.register(
            "producer_recycles",
            "Producers thrown away and made anew",
            m.recycles.clone(),
        );
        registry.register(
            "rebalances",
            "Assignments, revocations and losses of partitions",
            m.rebalances.clone(),
        );
        registry.register(
            "circuit_open",
            "1 while the circuit breaker keeps the loop from taking records",
            m.circuit_open.clone(),
        );
        registry.register(
            "lag_records",
            "Records behind the end of the partition, by the broker's last answer",
            m.lag.clone(),
        );
        m
    }

    pub(crate) fn record(&self, outcome: Kind, count: u64) {
        self.records
            .get_or_create(&OutcomeLabel { outcome })
            .inc_by(count);
    }

    pub(crate) fn dead_letter(&self, reason: Reason) {
        let reason = ReasonValue(reason);
        self.dead_letters
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    pub(crate) fn attempt(&self, took: Duration) {
        self.attempt.observe(took.as_secs_f64());
    }

    pub(crate) fn committed_after(&self, since_received: Duration) {
        self.commit_latency.observe(since_received.as_secs_f64());
    }

    pub(crate) fn end_to_end(&self, ms: i64) {
        self.end_to_end.observe(ms.max(0) as f64 / 1e3);
    }

    pub(crate) fn commit(&self, took: Duration, records: usize) {
        self.commit_time.observe(took.as_secs_f64());
        self.commit_records.observe(records as f64);
    }

    pub(crate) fn circuit_open(&self, open: bool) {
        self.circuit_open.set(i64::from(open));
    }

    pub(crate) fn lag(&self, partition: i32, records: i64) {
        self.lag
            .get_or_create(&PartitionLabel { partition })
            .set(records);
    }

    pub(crate) fn no_lag(&self, partition: i32) {
        self.lag.remove(&PartitionLabel { partition });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, "infer");
        metrics.dead_letter(Reason::Corrupt);
        metrics.lag(2, 7);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "sightline_infer_dead_letters_total{reason=\"corrupt\"} 1",
            "sightline_infer_records_total{outcome=\"done\"} 0",
            "sightline_infer_in_flight_bytes 0",
            "sightline_infer_lag_records{partition=\"2\"} 7",
            "# TYPE sightline_infer_end_to_end_seconds histogram",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
