//! The decision part of the loop: what happened goes in, what to do comes out. No Kafka, no clock, no I/O.
//!
//! It promises, whatever the order of events: a batch holds a finished prefix of each partition, in the order of its
//! offsets, of the current epoch only; after any doubt about a commit nothing is taken or committed until the broker
//! has said what it holds; in-flight records and bytes stay within their bounds (by one record). No record flows from a
//! partition before the broker holds our mark for it, and one that processes died of does not take others with it.
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
    pub manner: Manner,
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
        /// With each the tenure of its partition: one that went and came back is not what it was.
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

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Machine<T> {
    incarnation: Incarnation,
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
    producer: Producer,
    last_commit: Option<Duration>,
    /// The consumer was last told to leave records where they are.
    refused: bool,
    draining: bool,
    ending: bool,
    /// A planted fault: epochs are not looked at.
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

    // What the group says.

    /// Partitions became ours; the consumer starts where the broker says, and records flow once they are claimed.
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
            let epoch = self.next_epoch();
            let share = match self.dropped(partition) {
                Some(share) => share.renewed(epoch, Flow::Leaving, share.held),
                None => Share::new(epoch).renewed(epoch, Flow::Leaving, None),
            };
            self.shares.insert(partition, share);
        }
    }

    /// Partitions are gone without asking, to somebody else perhaps: drop them at once.
    pub fn lost(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.dropped(partition);
        }
    }

    /// Takes out the revoked partitions that may be given back now: none while a commit runs or is to say that they
    /// end cleanly. That is tried once: who comes next waits for it, and after a doubt it is not worth more waiting.
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

    // What the consumer brings.

    /// Whether the consumer may hand over a record: bounds, circuit and drain allow it.
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

    /// Whether records of this partition are wanted.
    pub fn flows(&self, partition: i32) -> bool {
        self.shares.get(&partition).is_some_and(Share::flows)
    }

    /// How many partitions' records are wanted.
    pub fn flowing(&self) -> usize {
        self.shares.values().filter(|share| share.flows()).count()
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

    /// An attempt failed for now; `attempt` counts from 1, `jitter` is a random number from 0 to 1. An alone record
    /// pauses only after [`marked`](Self::marked) has said that it may.
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

    /// The work was given up before it resolved: the loop was told to stop, or the record is no longer ours.
    pub fn forgotten(&mut self, ticket: Ticket) {
        self.in_flight.sub(ticket.bytes, 1);
    }

    // What the consumer is told after a doubt.

    /// Where the consumer has to seek.
    pub fn seeks(&self) -> Vec<(i32, Epoch, i64)> {
        let seek = |(&partition, share): (&i32, &Share<T>)| match (share.flow, share.held) {
            (Flow::Seeking, Some(held)) => Some((partition, share.epoch, held.offset)),
            _ => None,
        };
        self.shares.iter().filter_map(seek).collect()
    }

    /// The consumer stands where it was told to.
    pub fn sought(&mut self, partition: i32, epoch: Epoch) {
        if let Some(share) = self.shares.get_mut(&partition)
            && share.epoch == epoch
            && share.flow == Flow::Seeking
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
        let committing = matches!(self.producer, Producer::Committing { .. });
        self.draining && !committing && self.ready.is_empty() && self.running() == 0
    }

    /// Whether the consumer's thread has something to do that no new record tells it: a partition waits for it, or
    /// records that it left where they were may be taken now.
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

    /// Lets go of a partition. What runs is counted until its task reports; what waits to be committed is thrown out
    /// when its epoch is looked at.
    fn dropped(&mut self, partition: i32) -> Option<Share<T>> {
        let share = self.shares.remove(&partition)?;
        let (records, bytes) = share.ledger.held();
        self.in_flight.sub(bytes, records);
        Some(share)
    }
}
