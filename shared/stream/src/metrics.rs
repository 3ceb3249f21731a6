//! The loop's metrics. Each is declared once a process, here, as `sightline_<what>_<unit>`, with the service's name as
//! the label `stage`, so that one alert or panel serves all services.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use sightline_contracts::Reason;
use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

/// How an attempt at a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Committed with its outputs.
    Done,
    /// Committed as a dead letter.
    Rejected,
    /// To be tried again.
    Retried,
    /// Given up, because its partition was revoked or its transaction was aborted. It will be read again.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    stage: &'static str,
    outcome: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    stage: &'static str,
    reason: ReasonValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ReasonValue(Reason);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    stage: &'static str,
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

/// Buckets of a histogram of durations: from `from` seconds, each twice the one before.
#[derive(Debug, Clone, Copy)]
struct Doubling {
    from: f64,
    buckets: u16,
}

impl MetricConstructor<Histogram> for Doubling {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(self.from, 2.0, self.buckets))
    }
}

type Histograms = Family<StageLabel, Histogram, Doubling>;
type Seconds = Gauge<f64, AtomicU64>;

/// The loops' metrics of a process. Clones share their values.
#[derive(Debug, Clone)]
pub struct Families {
    records: Family<OutcomeLabels, Counter>,
    dead_letters: Family<ReasonLabels, Counter>,
    attempt: Histograms,
    record: Histograms,
    end_to_end: Histograms,
    commit: Histograms,
    commit_records: Histograms,
    in_flight_bytes: Family<StageLabel, Gauge>,
    in_flight_records: Family<StageLabel, Gauge>,
    aborts: Family<StageLabel, Counter>,
    recycles: Family<StageLabel, Counter>,
    rebalances: Family<StageLabel, Counter>,
    dropped_headers: Family<StageLabel, Counter>,
    circuit_open: Family<StageLabel, Gauge>,
    alone: Family<StageLabel, Gauge>,
    lag: Family<PartitionLabels, Gauge<i64, AtomicI64>>,
    oldest: Family<StageLabel, Seconds>,
    drain: Family<StageLabel, Seconds>,
}

impl Families {
    fn new() -> Self {
        let doubling = |from, buckets| Family::new_with_constructor(Doubling { from, buckets });
        Self {
            records: Family::default(),
            dead_letters: Family::default(),
            attempt: doubling(0.001, 17),
            record: doubling(0.001, 17),
            end_to_end: doubling(0.001, 20),
            commit: doubling(0.001, 15),
            commit_records: doubling(1.0, 12),
            in_flight_bytes: Family::default(),
            in_flight_records: Family::default(),
            aborts: Family::default(),
            recycles: Family::default(),
            rebalances: Family::default(),
            dropped_headers: Family::default(),
            circuit_open: Family::default(),
            alone: Family::default(),
            lag: Family::default(),
            oldest: Family::default(),
            drain: Family::default(),
        }
    }

    /// Declares the metrics. Must be called once for each registry.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::new();
        let registry = registry.sub_registry_with_prefix("sightline");
        for (name, help, metric) in [
            ("attempt", "Time one attempt at a record took", &m.attempt),
            (
                "record",
                "Time from receiving a record to its commit",
                &m.record,
            ),
            (
                "end_to_end",
                "Time from the notification to the commit of what this stage made of it",
                &m.end_to_end,
            ),
            ("commit", "Time a transaction took", &m.commit),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        }
        registry.register(
            "commit_records",
            "Records committed by one transaction",
            m.commit_records.clone(),
        );
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
        for (name, help, metric) in [
            ("aborts", "Transactions given up", &m.aborts),
            (
                "producer_recycles",
                "Producers thrown away and made anew",
                &m.recycles,
            ),
            (
                "rebalances",
                "Assignments, revocations and losses of partitions",
                &m.rebalances,
            ),
            (
                "dropped_headers",
                "Headers of records left out because their names are not UTF-8",
                &m.dropped_headers,
            ),
        ] {
            registry.register(name, help, metric.clone());
        }
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
            "circuit_open",
            "1 while the circuit breaker keeps the loop from taking records",
            m.circuit_open.clone(),
        );
        registry.register(
            "alone_partitions",
            "Partitions whose records run one at a time, because processes died without moving their offset",
            m.alone.clone(),
        );
        registry.register(
            "lag_records",
            "Records of the partition not yet committed, without transaction markers",
            m.lag.clone(),
        );
        for (name, help, metric) in [
            (
                "oldest_unprocessed",
                "Age of the oldest record of this instance's partitions that is not committed; 0 where none waits",
                &m.oldest,
            ),
            (
                "drain",
                "Time this instance needs for the lag of its partitions at the rate it works",
                &m.drain,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        }
        m
    }

    /// The metrics of one service's loop. Counters whose labels form a closed set begin at 0, so that a rate includes
    /// the first event.
    pub fn stage(&self, service: &'static str) -> Metrics {
        let stage = StageLabel { stage: service };
        for &reason in Reason::ALL {
            drop(self.dead_letters.get_or_create(&ReasonLabels {
                stage: service,
                reason: ReasonValue(reason),
            }));
        }
        for outcome in [Kind::Done, Kind::Rejected, Kind::Retried, Kind::Dropped] {
            drop(self.records.get_or_create(&OutcomeLabels {
                stage: service,
                outcome,
            }));
        }
        Metrics {
            service,
            records: self.records.clone(),
            dead_letters: self.dead_letters.clone(),
            attempt: self.attempt.get_or_create_owned(&stage),
            record: self.record.get_or_create_owned(&stage),
            end_to_end: self.end_to_end.get_or_create_owned(&stage),
            commit: self.commit.get_or_create_owned(&stage),
            commit_records: self.commit_records.get_or_create_owned(&stage),
            in_flight_bytes: self.in_flight_bytes.get_or_create_owned(&stage),
            in_flight_records: self.in_flight_records.get_or_create_owned(&stage),
            aborts: self.aborts.get_or_create_owned(&stage),
            recycles: self.recycles.get_or_create_owned(&stage),
            rebalances: self.rebalances.get_or_create_owned(&stage),
            dropped_headers: self.dropped_headers.get_or_create_owned(&stage),
            circuit_open: self.circuit_open.get_or_create_owned(&stage),
            alone: self.alone.get_or_create_owned(&stage),
            lag: self.lag.clone(),
            oldest: self.oldest.get_or_create_owned(&stage),
            drain: self.drain.get_or_create_owned(&stage),
        }
    }
}

/// One loop's metrics. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    service: &'static str,
    records: Family<OutcomeLabels, Counter>,
    dead_letters: Family<ReasonLabels, Counter>,
    attempt: Histogram,
    record: Histogram,
    end_to_end: Histogram,
    commit: Histogram,
    commit_records: Histogram,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) in_flight_records: Gauge,
    pub(crate) aborts: Counter,
    pub(crate) recycles: Counter,
    pub(crate) rebalances: Counter,
    pub(crate) dropped_headers: Counter,
    circuit_open: Gauge,
    pub(crate) alone: Gauge,
    lag: Family<PartitionLabels, Gauge<i64, AtomicI64>>,
    pub(crate) oldest: Seconds,
    pub(crate) drain: Seconds,
}

impl Metrics {
    /// Metrics in no registry, for tests and benchmarks.
    pub fn unregistered() -> Self {
        Families::new().stage("unregistered")
    }

    pub(crate) fn record(&self, outcome: Kind, count: u64) {
        self.records
            .get_or_create(&OutcomeLabels {
                stage: self.service,
                outcome,
            })
            .inc_by(count);
    }

    pub(crate) fn dead_letter(&self, reason: Reason) {
        self.dead_letters
            .get_or_create(&ReasonLabels {
                stage: self.service,
                reason: ReasonValue(reason),
            })
            .inc();
    }

    pub(crate) fn attempt(&self, took: Duration) {
        self.attempt.observe(took.as_secs_f64());
    }

    pub(crate) fn committed_after(&self, since_received: Duration) {
        self.record.observe(since_received.as_secs_f64());
    }

    pub(crate) fn end_to_end(&self, ms: i64) {
        self.end_to_end.observe(ms.max(0) as f64 / 1e3);
    }

    pub(crate) fn commit(&self, took: Duration, records: usize) {
        self.commit.observe(took.as_secs_f64());
        self.commit_records.observe(records as f64);
    }

    pub(crate) fn circuit_open(&self, open: bool) {
        self.circuit_open.set(i64::from(open));
    }

    pub(crate) fn lag(&self, partition: i32, records: i64) {
        self.lag.get_or_create(&self.of(partition)).set(records);
    }

    pub(crate) fn no_lag(&self, partition: i32) {
        self.lag.remove(&self.of(partition));
    }

    fn of(&self, partition: i32) -> PartitionLabels {
        PartitionLabels {
            stage: self.service,
            partition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention_and_come_once() {
        let mut registry = Registry::default();
        let families = Families::register(&mut registry);
        let infer = families.stage("infer");
        infer.dead_letter(Reason::Corrupt);
        infer.lag(2, 7);
        families.stage("ingest").drain.set(1.5);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "sightline_dead_letters_total{stage=\"infer\",reason=\"corrupt\"} 1",
            "sightline_records_total{stage=\"infer\",outcome=\"done\"} 0",
            "sightline_in_flight_bytes{stage=\"ingest\"} 0",
            "sightline_lag_records{stage=\"infer\",partition=\"2\"} 7",
            "sightline_drain_seconds{stage=\"ingest\"} 1.5",
            "sightline_dropped_headers_total{stage=\"ingest\"} 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let types = text.matches("# TYPE sightline_end_to_end_seconds histogram");
        assert_eq!(types.count(), 1);
    }
}
