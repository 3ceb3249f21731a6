//! The loop's decisions as a state machine: events go in, actions come out. It knows no Kafka, no clock and no I/O.
//!
//! In every order of events it guarantees:
//!
//! - A batch holds a finished prefix of each partition's records, in the order of their offsets, of the current epoch
//!   only.
//! - After a commit failed or its result is unknown (a *doubt*), nothing is taken or committed until the committed
//!   offsets have been read from the broker.
//! - Records and bytes in flight exceed their bounds by one record at most.
//! - No record is taken from a partition before the broker holds our mark for it.
//! - A record that processes die of is set aside, and the records around it come out once.
//!
//! Times are durations since any fixed moment.

mod alone;
mod breaker;
mod commits;
mod ledger;
mod mark;
mod pacing;
mod retry;
mod share;
#[cfg(test)]
mod tests;

pub(crate) use alone::{Found, Manner, Marked};
pub(crate) use breaker::Breaker;
pub(crate) use commits::Batch;
pub(crate) use ledger::Ledger;
pub(crate) use mark::{Incarnation, Mark, Running};
pub(crate) use pacing::{Due, Pacing};
pub(crate) use retry::Retry;
pub(crate) use share::{Epoch, Place};

use commits::Ready;
use share::{Flow, Share};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Bounds on records that are taken and not yet committed.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub bytes: usize,
    pub records: usize,
}

/// A record that was taken and is being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub partition: i32,
    pub offset: i64,
    pub epoch: Epoch,
    pub bytes: usize,
    pub manner: Manner,
}

/// What a resolved record says about the health of the service and its surroundings, for the circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Good,
    Bad,
    /// The record itself was invalid, which says nothing.
    Neutral,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Try again after this pause. `counts` is false while the circuit is open: the attempt does not use up the budget.
    Again { after: Duration, counts: bool },
    /// The budget is used up: resolve the record as a dead letter.
    Exhausted,
    /// The record is no longer ours: forget it.
    Stale,
}

/// What the transactional producers are doing.
#[derive(Debug, PartialEq, Eq)]
enum Producer {
    /// They are being made: at the start, and anew after a doubt.
    Recovering,
    Idle,
    /// A transaction runs.
    Committing {
        bytes: usize,
        records: usize,
        /// Partition, tenure and place. A partition that was lost and assigned again has another tenure.
        places: Vec<(i32, Epoch, Place)>,
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

/// The state machine of one loop; `T` is what is written for a record.
#[derive(Debug)]
pub(crate) struct Machine<T> {
    incarnation: Incarnation,
    limits: Limits,
    pacing: Pacing,
    retry: Retry,
    breaker: Breaker,
    epoch: u64,
    shares: BTreeMap<i32, Share<T>>,
    /// Finished prefixes, in the order in which they were finished.
    ready: VecDeque<Ready<T>>,
    ready_bytes: usize,
    in_flight: InFlight,
    producer: Producer,
    last_commit: Option<Duration>,
    /// The last call of [`admits`](Self::admits) said no.
    refused: bool,
    draining: bool,
    ending: bool,
    /// A planted fault for a test: epochs are ignored.
    #[cfg(test)]
    blind_to_epochs: bool,
}

impl<T> Machine<T> {
    pub fn new(
        incarnation: Incarnation,
        limits: Limits,
        pacing: Pacing,
        retry: Retry,
        breaker: Breaker,
    ) -> Self {
        Self {
            incarnation,
            limits,
            pacing,
            retry,
            breaker,
            epoch: 0,
            shares: BTreeMap::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            in_flight: InFlight::default(),
            producer: Producer::Recovering,
            last_commit: None,
            refused: false,
            draining: false,
            ending: false,
            #[cfg(test)]
            blind_to_epochs: false,
        }
    }

    // The group's decisions.

    /// Partitions became ours. The consumer starts at the committed offset; records are taken once they are claimed.
    pub fn assigned(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.dropped(partition);
            let share = Share::new(self.next_epoch());
            self.shares.insert(partition, share);
        }
    }

    /// Partitions are to be given back. Nothing more is taken from them, and what is not in the running commit is
    /// dropped. [`releasable`](Self::releasable) says when they may be given back.
    pub fn revoked(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            let epoch = self.next_epoch();
            let share = match self.dropped(partition) {
                Some(share) => share.renewed(epoch, Flow::Leaving, share.held),
                None => Share::new(epoch).renewed(epoch, Flow::Leaving, None),
            };
            self.shares.insert(partition, share);
        }
    }

    /// Partitions were taken away, and may have another owner already: they are dropped at once.
    pub fn lost(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.dropped(partition);
        }
    }

    /// Removes and returns the revoked partitions that may be given back now. A partition stays while a commit runs,
    /// and until a commit has said that its owner ends cleanly. That commit is tried once: the next owner waits for it,
    /// so it is not repeated after a doubt.
    pub fn releasable(&mut self) -> Vec<i32> {
        if matches!(self.producer, Producer::Committing { .. }) {
            return Vec::new();
        }
        let (idle, ending) = (self.producer == Producer::Idle, self.ending);
        let leaves = |share: &Share<T>| {
            share.flow == Flow::Leaving && !(idle && share.wanted(ending).is_some())
        };
        let released: Vec<i32> = self
            .shares
            .iter()
            .filter(|(_, share)| leaves(share))
            .map(|(&partition, _)| partition)
            .collect();
        self.shares.retain(|_, share| !leaves(share));
        released
    }

    // Records from the consumer.

    /// Whether a record may be taken, by the bounds, the circuit and the drain.
    pub fn admits(&mut self, now: Duration) -> bool {
        let admits = self.has_room() && self.breaker.admits(now);
        self.refused = !admits;
        admits
    }

    fn has_room(&self) -> bool {
        !self.draining
            && self.in_flight.bytes < self.limits.bytes
            && self.in_flight.records < self.limits.records
    }

    /// Whether records of this partition may be taken.
    pub fn flows(&self, partition: i32) -> bool {
        self.shares.get(&partition).is_some_and(Share::flows)
    }

    /// The number of partitions of which records may be taken.
    pub fn flowing(&self) -> usize {
        self.shares.values().filter(|share| share.flows()).count()
    }

    /// A record was delivered. None where it is to be ignored: its partition is revoked or in doubt, or it was
    /// delivered before.
    pub fn taken(
        &mut self,
        partition: i32,
        offset: i64,
        bytes: usize,
        now: Duration,
    ) -> Option<Ticket> {
        let share = self.shares.get_mut(&partition)?;
        if !share.flows() || !share.ledger.take(offset, bytes) {
            return None;
        }
        let manner = share.hand_out(offset);
        self.in_flight.add(bytes, 1);
        self.breaker.taken(now);
        Some(Ticket {
            partition,
            offset,
            epoch: share.epoch,
            bytes,
            manner,
        })
    }

    // Results of the work.

    /// A record is resolved: `result` is what to write for it, of `bytes` bytes. False where the record is no longer
    /// ours and the result is dropped.
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
        if let Some(solo) = &mut share.solo {
            solo.resolved = true;
        }
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

    /// An attempt failed and may be repeated. `attempt` counts from 1, `jitter` is a random number from 0 to 1. A
    /// record that runs alone may pause only after [`marked`](Self::marked) has said so.
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
        // A record counts as failed once, however often it is tried. A probe of the breaker always counts.
        if attempt == 1 || self.breaker.is_open() {
            self.breaker.bad(now);
        }
        let failed = if self.breaker.is_open() {
            let closed = self.breaker.closed_until(now).unwrap_or(now) - now;
            let after = closed + self.retry.backoff(attempt, jitter);
            let counts = false;
            Failed::Again { after, counts }
        } else {
            let pause = self.retry.pause(attempt, after, jitter);
            pause.map_or(Failed::Exhausted, |after| Failed::Again {
                after,
                counts: true,
            })
        };
        self.rests(ticket, failed);
        failed
    }

    /// The work on a record was given up: the loop stops, or the record is no longer ours.
    pub fn forgotten(&mut self, ticket: Ticket) {
        self.in_flight.sub(ticket.bytes, 1);
    }

    // Seeks after a doubt.

    /// The offsets that the consumer has to seek to.
    pub fn seeks(&self) -> Vec<(i32, Epoch, i64)> {
        let seek = |(&partition, share): (&i32, &Share<T>)| match (share.flow, share.held) {
            (Flow::Seeking, Some(held)) => Some((partition, share.epoch, held.offset)),
            _ => None,
        };
        self.shares.iter().filter_map(seek).collect()
    }

    /// The consumer has sought to the offset.
    pub fn sought(&mut self, partition: i32, epoch: Epoch) {
        if let Some(share) = self.shares.get_mut(&partition)
            && share.epoch == epoch
            && share.flow == Flow::Seeking
        {
            share.flow = Flow::Open;
        }
    }

    // Stopping, and the state to look at.

    /// Takes nothing more. What is in flight is finished, and committed without waiting for the interval.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether everything taken is committed, after [`drain`](Self::drain).
    pub fn drained(&self) -> bool {
        let committing = matches!(self.producer, Producer::Committing { .. });
        self.draining && !committing && self.ready.is_empty() && self.running() == 0
    }

    /// Whether the poll thread has something to do that no new record tells it: a partition waits for a seek or to be
    /// given back, or records that it was not allowed to take may be taken now.
    pub fn wants_poller(&self) -> bool {
        let waiting = |share: &Share<T>| matches!(share.flow, Flow::Seeking | Flow::Leaving);
        let admits_again = self.refused && self.has_room() && !self.breaker.is_open();
        admits_again || self.shares.values().any(waiting)
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

    /// Drops a partition. Records that tasks work on count as in flight until the tasks report. Results that wait to be
    /// committed are dropped when the next batch is taken, by their epoch.
    fn dropped(&mut self, partition: i32) -> Option<Share<T>> {
        let share = self.shares.remove(&partition)?;
        let (records, bytes) = share.ledger.held();
        self.in_flight.sub(bytes, records);
        Some(share)
    }
}
