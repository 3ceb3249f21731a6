//! The state machine of one transactional id, without files or sockets, after Kafka's `TransactionCoordinator`.
//!
//! Every decision returns the next state, which takes effect when it is in the journal.

use crate::log::batch::Outcome;
use std::collections::BTreeSet;

/// The last epoch that a producer gets; one more remains to fence it.
const LAST_EPOCH: i16 = i16::MAX - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    Ongoing,
    /// Decided; some markers may not be written yet.
    Prepared(Outcome),
    Complete(Outcome),
}

impl Phase {
    /// As `DescribeTransactions` and `ListTransactions` spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::Prepared(Outcome::Commit) => "PrepareCommit",
            Self::Prepared(Outcome::Abort) => "PrepareAbort",
            Self::Complete(Outcome::Commit) => "CompleteCommit",
            Self::Complete(Outcome::Abort) => "CompleteAbort",
        }
    }
}

/// Why a request is refused; each is the Kafka error of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    InvalidProducerIdMapping,
    ProducerFenced,
    ConcurrentTransactions,
    InvalidTxnState,
    InvalidTransactionTimeout,
    InvalidRequest,
}

/// The state of one transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub producer_id: i64,
    /// -1 before the first `InitProducerId` is answered.
    pub epoch: i16,
    /// `epoch` and `producer_id` before the last increase that the producer asked for; -1 if there was none.
    pub last_epoch: i16,
    pub last_producer_id: i64,
    pub timeout_ms: i32,
    pub phase: Phase,
    pub partitions: BTreeSet<(String, i32)>,
    pub groups: BTreeSet<String>,
    pub started_ms: i64,
    pub updated_ms: i64,
}

impl Transaction {
    pub(crate) fn new(producer_id: i64, now: i64) -> Self {
        Self {
            producer_id,
            epoch: -1,
            last_epoch: -1,
            last_producer_id: -1,
            timeout_ms: 0,
            phase: Phase::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now,
        }
    }

    /// Checks that the producer is the current one.
    pub(crate) fn check(&self, producer_id: i64, epoch: i16) -> Result<(), Refused> {
        if self.producer_id != producer_id {
            Err(Refused::InvalidProducerIdMapping)
        } else if self.epoch != epoch {
            Err(Refused::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// Whether a producer may be initialised, by the id and epoch that it says it had; `None` if it says none.
    pub(crate) fn check_expected(&self, expected: Option<(i64, i16)>) -> Result<(), Refused> {
        let Some((producer_id, epoch)) = expected else {
            return Ok(());
        };
        let current =
            producer_id == self.producer_id && (epoch == self.epoch || epoch == self.last_epoch);
        let rotated = producer_id == self.last_producer_id && epoch >= LAST_EPOCH;
        if self.epoch == -1 || current || rotated {
            Ok(())
        } else {
            Err(Refused::ProducerFenced)
        }
    }

    /// Whether the producer id has no epoch left.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.epoch >= LAST_EPOCH
    }

    /// A new epoch for the producer, or a new id once epochs run out. Its last transaction must have ended.
    pub(crate) fn initialise(
        &self,
        expected: Option<(i64, i16)>,
        timeout_ms: i32,
        now: i64,
        fresh_id: impl FnOnce() -> i64,
    ) -> Self {
        let mut next = Self {
            timeout_ms,
            phase: Phase::Empty,
            updated_ms: now,
            started_ms: -1,
            ..self.clone()
        };
        // The reply to the last increase was lost: repeat it.
        if let Some((producer_id, epoch)) = expected
            && self.epoch != -1
            && (producer_id, epoch) != (self.producer_id, self.epoch)
        {
            return next;
        }
        let asked = expected.is_some();
        if self.is_exhausted() {
            next.last_producer_id = self.producer_id;
            next.last_epoch = if asked { self.epoch } else { -1 };
            next.producer_id = fresh_id();
            next.epoch = 0;
        } else {
            next.last_epoch = if asked { self.epoch } else { -1 };
            next.epoch += 1;
        }
        next
    }

    /// Adds partitions or a group to the transaction and begins it if necessary; `None` if they are in it already.
    pub(crate) fn add(
        &self,
        producer: (i64, i16),
        partitions: &[(String, i32)],
        group: Option<&str>,
        now: i64,
    ) -> Result<Option<Self>, Refused> {
        self.check(producer.0, producer.1)?;
        let mut next = self.clone();
        match self.phase {
            Phase::Prepared(_) => return Err(Refused::ConcurrentTransactions),
            Phase::Ongoing => {}
            Phase::Empty | Phase::Complete(_) => {
                next.phase = Phase::Ongoing;
                next.started_ms = now;
                next.partitions.clear();
                next.groups.clear();
            }
        }
        next.partitions.extend(partitions.iter().cloned());
        next.groups.extend(group.map(str::to_owned));
        if next == *self {
            return Ok(None);
        }
        next.updated_ms = now;
        Ok(Some(next))
    }

    /// Decides how the transaction ends; `None` if it has already ended that way.
    pub(crate) fn end(
        &self,
        producer: (i64, i16),
        outcome: Outcome,
        now: i64,
    ) -> Result<Option<Self>, Refused> {
        self.check(producer.0, producer.1)?;
        match self.phase {
            Phase::Ongoing => Ok(Some(Self {
                phase: Phase::Prepared(outcome),
                updated_ms: now,
                ..self.clone()
            })),
            Phase::Complete(done) if done == outcome => Ok(None),
            Phase::Prepared(decided) if decided == outcome => Err(Refused::ConcurrentTransactions),
            Phase::Empty | Phase::Complete(_) | Phase::Prepared(_) => Err(Refused::InvalidTxnState),
        }
    }

    /// Fences the producer: aborts the transaction under a higher epoch.
    pub(crate) fn fence(&self, now: i64) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            last_epoch: -1,
            phase: Phase::Prepared(Outcome::Abort),
            updated_ms: now,
            ..self.clone()
        }
    }

    /// The state after all markers are written.
    pub(crate) fn complete(&self, outcome: Outcome, now: i64) -> Self {
        Self {
            phase: Phase::Complete(outcome),
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            updated_ms: now,
            ..self.clone()
        }
    }

    /// Whether the transaction has exceeded its timeout.
    pub(crate) fn is_overdue(&self, now: i64) -> bool {
        self.phase == Phase::Ongoing
            && self.started_ms.saturating_add(i64::from(self.timeout_ms)) < now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Transaction {
        let t = Transaction::new(1, 0).initialise(None, 1000, 0, || unreachable!());
        t.add((1, 0), &[("t".into(), 0)], None, 10)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn only_initialising_raises_the_epoch_of_a_live_producer() {
        let t = begun();
        assert_eq!(t.epoch, 0);
        let t = t
            .end((1, 0), Outcome::Commit, 20)
            .unwrap()
            .unwrap()
            .complete(Outcome::Commit, 21);
        assert_eq!((t.epoch, t.phase), (0, Phase::Complete(Outcome::Commit)));
        assert_eq!(
            t.end((1, 0), Outcome::Commit, 22),
            Ok(None),
            "a repeated commit is acknowledged"
        );
        assert_eq!(
            t.end((1, 0), Outcome::Abort, 22),
            Err(Refused::InvalidTxnState)
        );
        let t = t.initialise(None, 1000, 30, || unreachable!());
        assert_eq!(t.epoch, 1);
        assert_eq!(
            t.end((1, 0), Outcome::Commit, 31),
            Err(Refused::ProducerFenced)
        );
        assert_eq!(t.add((1, 0), &[], None, 31), Err(Refused::ProducerFenced));
        assert_eq!(
            t.add((2, 0), &[], None, 31),
            Err(Refused::InvalidProducerIdMapping)
        );
    }

    #[test]
    fn fencing_aborts_under_a_higher_epoch() {
        let t = begun();
        assert!(!t.is_overdue(1010) && t.is_overdue(1011));
        let t = t.fence(1011);
        assert_eq!((t.epoch, t.phase), (1, Phase::Prepared(Outcome::Abort)));
        assert_eq!(
            t.end((1, 0), Outcome::Commit, 1012),
            Err(Refused::ProducerFenced)
        );
        assert_eq!(t.check_expected(Some((1, 0))), Err(Refused::ProducerFenced));
    }

    #[test]
    fn a_decided_transaction_takes_nothing_more() {
        let t = begun().end((1, 0), Outcome::Commit, 20).unwrap().unwrap();
        assert_eq!(
            t.add((1, 0), &[("t".into(), 1)], None, 21),
            Err(Refused::ConcurrentTransactions)
        );
        assert_eq!(
            t.end((1, 0), Outcome::Commit, 21),
            Err(Refused::ConcurrentTransactions)
        );
        assert_eq!(
            t.end((1, 0), Outcome::Abort, 21),
            Err(Refused::InvalidTxnState)
        );
    }

    #[test]
    fn exhausted_epochs_bring_a_new_producer_id() {
        let mut t = Transaction::new(1, 0);
        t.epoch = i16::MAX - 1;
        let next = t.initialise(None, 1000, 0, || 77);
        assert_eq!((next.producer_id, next.epoch), (77, 0));
        assert_eq!(next.check_expected(Some((1, i16::MAX - 1))), Ok(()));
    }

    #[test]
    fn a_lost_answer_is_given_again() {
        let t = Transaction::new(1, 0).initialise(None, 1000, 0, || unreachable!());
        let raised = t.initialise(Some((1, 0)), 1000, 1, || unreachable!());
        assert_eq!(raised.epoch, 1);
        assert_eq!(
            raised
                .initialise(Some((1, 0)), 1000, 2, || unreachable!())
                .epoch,
            1
        );
        assert_eq!(
            raised
                .initialise(Some((1, 1)), 1000, 2, || unreachable!())
                .epoch,
            2
        );
    }
}
