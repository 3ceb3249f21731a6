//! The decision part of the loop: what happened goes in, what to do comes out. No Kafka, no clock, no I/O.
//!
//! It promises, whatever the order of events: a batch holds a finished prefix of each partition, in the order of its
//! offsets, of the current epoch only; after any doubt about a commit nothing is taken or committed until the broker
//! has said what it holds; in-flight records and bytes stay within their bounds (by one record).
//!
//! Times are durations since any fixed moment.

mod breaker;
mod ledger;
mod pacing;
mod retry;
mod share;
#[cfg(test)]
mod tests;

pub(crate) use breaker::Breaker;
pub(crate) use ledger::Ledger;
pub(crate) use pacing::{Due, Pacing};
pub(crate) use retry::Retry;
pub(crate) use share::Epoch;

use share::{Flow, Share};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Bounds on what is taken and not yet committed.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub bytes: usize,
    pub records: usize,
}

/// A record that was handed out to be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub partition: i32,
    pub offset: i64,
    pub epoch: Epoch,
    pub bytes: usize,
}

/// What a resolved record says about the health of the world around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Good,
    Bad,
    /// The record itself was wrong; that says nothing.
    Neutral,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Try again after this pause. While the circuit is open, the attempt does not count.
    Again { after: Duration, counts: bool },
    /// The budget is spent: resolve it as a dead letter.
    Exhausted,
    /// The record is no longer ours: forget it.
    Stale,
}

/// What one transaction is to hold.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// For each partition the offset to go on from.
    pub offsets: BTreeMap<i32, i64>,
    pub results: Vec<T>,
    pub bytes: usize,
}

#[derive(Debug)]
struct Ready<T> {
    partition: i32,
    epoch: Epoch,
    offset: i64,
    bytes: usize,
    result: T,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// No producer yet, or a new one is being made after a doubt.
    Recovering,
    Idle,
    Committing {
        bytes: usize,
        records: usize,
    },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub bytes: usize,
    pub records: usize,
}

impl InFlight {
    fn add(&mut self, bytes: usize, records: usize) {
        self.bytes += bytes;
        self.records += records;
    }

    fn sub(&mut self, bytes: usize, records: usize) {
        self.bytes -= bytes;
        self.records -= records;
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Machine<T> {
    limits: Limits,
    pacing: Pacing,
    retry: Retry,
    breaker: Breaker,
    epoch: u64,
    shares: BTreeMap<i32, Share<T>>,
    /// Finished prefixes, in the order they became so.
    ready: VecDeque<Ready<T>>,
    ready_bytes: usize,
    in_flight: InFlight,
    phase: Phase,
    last_commit: Option<Duration>,
    draining: bool,
    /// A planted fault: epochs are not looked at.
    #[cfg(test)]
    blind_to_epochs: bool,
}

impl<T> Machine<T> {
    pub fn new(limits: Limits, pacing: Pacing, retry: Retry, breaker: Breaker) -> Self {
        Self {
            limits,
            pacing,
            retry,
            breaker,
            epoch: 0,
            shares: BTreeMap::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            in_flight: InFlight::default(),
            phase: Phase::Recovering,
            last_commit: None,
            draining: false,
            #[cfg(test)]
            blind_to_epochs: false,
        }
    }

    // What the group says.

    /// Partitions became ours; the consumer starts where the broker says.
    pub fn assigned(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.dropped(partition);
            let share = Share::new(self.next_epoch());
            self.shares.insert(partition, share);
        }
    }

    /// Partitions are to be given back: nothing more is taken from them and what is not in the running commit is
    /// dropped. [`releasable`](Self::releasable) says when they may go.
    pub fn revoked(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.dropped(partition);
            let epoch = self.next_epoch();
            self.shares.insert(
                partition,
                Share {
                    flow: Flow::Leaving,
                    ..Share::new(epoch)
                },
            );
        }
    }

    /// Partitions are gone without asking, to somebody else perhaps: drop them at once.
    pub fn lost(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.dropped(partition);
        }
    }

    /// Takes out the revoked partitions that may be given back now: all, unless a commit runs.
    pub fn releasable(&mut self) -> Vec<i32> {
        if matches!(self.phase, Phase::Committing { .. }) {
            return Vec::new();
        }
        let leaving = |share: &Share<T>| share.flow == Flow::Leaving;
        let released: Vec<i32> = self
            .shares
            .iter()
            .filter(|(_, share)| leaving(share))
            .map(|(&partition, _)| partition)
            .collect();
        self.shares.retain(|_, share| !leaving(share));
        released
    }

    // What the consumer brings.

    /// Whether the consumer may hand over a record: bounds, circuit and drain allow it.
    pub fn admits(&mut self, now: Duration) -> bool {
        !self.draining
            && self.in_flight.bytes < self.limits.bytes
            && self.in_flight.records < self.limits.records
            && self.breaker.admits(now)
    }

    /// Whether records of this partition are wanted.
    pub fn flows(&self, partition: i32) -> bool {
        self.shares
            .get(&partition)
            .is_some_and(|share| share.flow == Flow::Open)
    }

    /// A record came. None: it isn't ours to work on (revoked, in doubt, or delivered before), forget it.
    pub fn taken(
        &mut self,
        partition: i32,
        offset: i64,
        bytes: usize,
        now: Duration,
    ) -> Option<Ticket> {
        let share = self.shares.get_mut(&partition)?;
        if share.flow != Flow::Open || !share.ledger.take(offset, bytes) {
            return None;
        }
        self.in_flight.add(bytes, 1);
        self.breaker.taken(now);
        Some(Ticket {
            partition,
            offset,
            epoch: share.epoch,
            bytes,
        })
    }

    // What became of the work.

    /// A record is done with: `result` is what to write for it, of `bytes` bytes. False: it is no longer ours and the
    /// result is dropped.
    pub fn resolved(
        &mut self,
        ticket: Ticket,
        result: T,
        bytes: usize,
        sign: Sign,
        now: Duration,
    ) -> bool {
        match sign {
            Sign::Good => self.breaker.good(now),
            Sign::Bad => self.breaker.bad(now),
            Sign::Neutral => {}
        }
        let epochs_count = self.epochs_count();
        let share = self
            .shares
            .get_mut(&ticket.partition)
            .filter(|share| !epochs_count || share.epoch == ticket.epoch);
        let Some(share) = share else {
            self.in_flight.sub(ticket.bytes, 1);
            return false;
        };
        if !share.ledger.finish(ticket.offset, bytes, result) {
            self.in_flight.sub(ticket.bytes, 1);
            return false;
        }
        self.in_flight.add(bytes, 0);
        while let Some(finished) = share.ledger.pop() {
            self.ready_bytes += finished.bytes;
            self.ready.push_back(Ready {
                partition: ticket.partition,
                epoch: share.epoch,
                offset: finished.offset,
                bytes: finished.bytes,
                result: finished.result,
            });
        }
        true
    }

    /// An attempt failed for now; `attempt` counts from 1, `jitter` is a random number from 0 to 1.
    pub fn failed(
        &mut self,
        ticket: Ticket,
        attempt: u32,
        after: Option<Duration>,
        now: Duration,
        jitter: f64,
    ) -> Failed {
        if !self.current(ticket.partition, ticket.epoch) {
            self.in_flight.sub(ticket.bytes, 1);
            return Failed::Stale;
        }
        // A record counts as failed once, however often it is tried; a probe always counts.
        if attempt == 1 || self.breaker.is_open() {
            self.breaker.bad(now);
        }
        if self.breaker.is_open() {
            let closed = self.breaker.closed_until(now).unwrap_or(now) - now;
            let after = closed + self.retry.backoff(attempt, jitter);
            return Failed::Again {
                after,
                counts: false,
            };
        }
        match self.retry.pause(attempt, after, jitter) {
            Some(after) => Failed::Again {
                after,
                counts: true,
            },
            None => Failed::Exhausted,
        }
    }

    /// The work was given up, its future dropped before it resolved; only after the loop was told to stop.
    pub fn forgotten(&mut self, ticket: Ticket) {
        self.in_flight.sub(ticket.bytes, 1);
    }

    // What the committer does.

    /// When the next transaction is due.
    pub fn due(&self, now: Duration) -> Due {
        if self.phase != Phase::Idle {
            return Due::Never;
        }
        let due = self
            .pacing
            .due(now, self.last_commit, self.ready.len(), self.ready_bytes);
        match due {
            Due::At(_) if self.draining => Due::Now,
            due => due,
        }
    }

    /// Takes what the next transaction is to hold; none where nothing current is left. What belongs to an older epoch
    /// is dropped here.
    pub fn take_batch(&mut self) -> Option<Batch<T>> {
        if self.phase != Phase::Idle {
            return None;
        }
        let mut batch = Batch {
            offsets: BTreeMap::new(),
            results: Vec::new(),
            bytes: 0,
        };
        while let Some(ready) = self.ready.front() {
            let full = batch.results.len() >= self.pacing.max_records
                || batch.bytes + ready.bytes > self.pacing.max_bytes;
            if full && !batch.results.is_empty() {
                break;
            }
            let Some(ready) = self.ready.pop_front() else {
                break;
            };
            self.ready_bytes -= ready.bytes;
            if !self.current(ready.partition, ready.epoch) {
                self.in_flight.sub(ready.bytes, 1);
                continue;
            }
            batch.offsets.insert(ready.partition, ready.offset + 1);
            batch.results.push(ready.result);
            batch.bytes += ready.bytes;
        }
        if batch.results.is_empty() {
            return None;
        }
        self.phase = Phase::Committing {
            bytes: batch.bytes,
            records: batch.results.len(),
        };
        Some(batch)
    }

    /// The running commit succeeded.
    pub fn committed(&mut self, now: Duration) {
        self.end_of_commit();
        self.last_commit = Some(now);
        self.phase = Phase::Idle;
    }

    /// The running commit failed, or nobody knows: everything taken is dropped until the broker has been asked.
    pub fn doubted(&mut self) {
        self.end_of_commit();
        self.phase = Phase::Recovering;
        let partitions: Vec<i32> = self.shares.keys().copied().collect();
        for partition in partitions {
            let leaving = self.shares[&partition].flow == Flow::Leaving;
            self.dropped(partition);
            let mut share = Share::new(self.next_epoch());
            share.flow = if leaving {
                Flow::Leaving
            } else {
                Flow::Unknown
            };
            self.shares.insert(partition, share);
        }
    }

    /// The partitions whose committed offset has to be read from the broker, once a new producer has fenced the old.
    pub fn unknown(&self) -> Vec<(i32, Epoch)> {
        self.shares
            .iter()
            .filter(|(_, share)| share.flow == Flow::Unknown)
            .map(|(&partition, share)| (partition, share.epoch))
            .collect()
    }

    /// A producer is initialised, and the broker holds these offsets (none: nothing committed yet).
    pub fn recovered(&mut self, offsets: &[(i32, Epoch, Option<i64>)]) {
        for &(partition, epoch, offset) in offsets {
            if let Some(share) = self.shares.get_mut(&partition)
                && share.epoch == epoch
                && share.flow == Flow::Unknown
            {
                share.flow = Flow::Seeking(offset);
            }
        }
        if self.unknown().is_empty() {
            self.phase = Phase::Idle;
        }
    }

    /// Where the consumer has to seek.
    pub fn seeks(&self) -> Vec<(i32, Epoch, Option<i64>)> {
        let seek = |(&partition, share): (&i32, &Share<T>)| match share.flow {
            Flow::Seeking(offset) => Some((partition, share.epoch, offset)),
            _ => None,
        };
        self.shares.iter().filter_map(seek).collect()
    }

    /// The consumer stands where it was told to.
    pub fn sought(&mut self, partition: i32, epoch: Epoch) {
        if let Some(share) = self.shares.get_mut(&partition)
            && share.epoch == epoch
            && matches!(share.flow, Flow::Seeking(_))
        {
            share.flow = Flow::Open;
        }
    }

    // Stopping, and what there is to see.

    /// Takes nothing more; what is in flight is finished and committed without waiting for the interval.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether everything taken is committed, after [`drain`](Self::drain).
    pub fn drained(&self) -> bool {
        let committing = matches!(self.phase, Phase::Committing { .. });
        self.draining && !committing && self.ready.is_empty() && self.running() == 0
    }

    /// Whether the consumer's thread has something to do that no record tells it.
    pub fn wants_poller(&self) -> bool {
        let waiting = |share: &Share<T>| matches!(share.flow, Flow::Seeking(_) | Flow::Leaving);
        self.shares.values().any(waiting)
    }

    /// Records taken, still ours and not yet resolved.
    pub fn running(&self) -> usize {
        self.shares.values().map(|s| s.ledger.running()).sum()
    }

    pub fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    pub fn circuit_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// The partitions that are ours.
    pub fn partitions(&self) -> Vec<i32> {
        self.shares.keys().copied().collect()
    }

    fn next_epoch(&mut self) -> Epoch {
        self.epoch += 1;
        Epoch(self.epoch)
    }

    fn epochs_count(&self) -> bool {
        #[cfg(test)]
        if self.blind_to_epochs {
            return false;
        }
        true
    }

    fn current(&self, partition: i32, epoch: Epoch) -> bool {
        let share = self.shares.get(&partition);
        share.is_some_and(|share| !self.epochs_count() || share.epoch == epoch)
    }

    /// Lets go of a partition. What runs is counted until its task reports; what waits to be committed is thrown out
    /// when its epoch is looked at.
    fn dropped(&mut self, partition: i32) {
        if let Some(share) = self.shares.remove(&partition) {
            let (records, bytes) = share.ledger.held();
            self.in_flight.sub(bytes, records);
        }
    }

    fn end_of_commit(&mut self) {
        if let Phase::Committing { bytes, records } = self.phase {
            self.in_flight.sub(bytes, records);
        }
    }
}
