//! The backlog of one loop, as its threads observe it and its gauges show it.

use super::{
    backlog::{Backlog, Seen},
    writing::Resolved,
};
use crate::{Metrics, Record, machine::Batch};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

pub(crate) struct Lag {
    start: Instant,
    backlog: Mutex<Backlog>,
    metrics: Metrics,
}

impl Lag {
    pub fn new(metrics: Metrics) -> Self {
        Self {
            start: Instant::now(),
            backlog: Mutex::default(),
            metrics,
        }
    }

    /// A record was taken.
    pub fn taken(&self, record: &Record) {
        let now = self.now();
        self.backlog
            .lock()
            .taken(record.partition, record.offset, record.timestamp_ms, now);
    }

    pub fn committed(&self, batch: &Batch<Resolved>) {
        let now = self.now();
        self.backlog
            .lock()
            .committed(&batch.places, batch.results.len(), now);
    }

    /// A commit failed: what was taken waits again.
    pub fn doubted(&self) {
        let now = self.now();
        self.backlog.lock().doubted(now);
    }

    /// librdkafka's statistics of partitions that are ours.
    pub fn seen(&self, partitions: impl Iterator<Item = (i32, Seen)>) {
        let now_ms = sightline_contracts::now_ms();
        let mut backlog = self.backlog.lock();
        for (partition, seen) in partitions {
            backlog.seen(partition, seen, now_ms);
        }
    }

    /// A partition was assigned, revoked or lost: nothing is known of it.
    pub fn forget(&self, partition: i32) {
        let now = self.now();
        self.backlog.lock().forget(partition, now);
        self.metrics.no_lag(partition);
    }

    /// Sets the gauges.
    pub fn publish(&self) {
        let (now, now_ms) = (self.now(), sightline_contracts::now_ms());
        let measured = self.backlog.lock().measure(now, now_ms);
        for (partition, records) in measured.lag {
            self.metrics.lag(partition, records);
        }
        self.metrics.oldest.set(measured.age.as_secs_f64());
        self.metrics.drain.set(measured.drain);
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
