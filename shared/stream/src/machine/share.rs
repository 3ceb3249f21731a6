//! One partition while it is assigned to us.

use super::{Incarnation, Ledger, Manner, Mark};

/// Raised with each assignment of a partition and with each recovery. A record keeps the epoch in which it was taken.
/// Once the partition has another epoch, the record's result may not be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub(super) u64);

/// What the broker holds for a partition: the committed offset and its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: i64,
    pub mark: Mark,
}

/// Whether records may be taken from a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The committed offset must be read first: the partition is new, or a commit is in doubt.
    Unknown,
    /// The committed offset is read. Our mark must be committed with the same offset first.
    Claiming(Place),
    /// The consumer must seek to the committed offset first.
    Seeking,
    /// Records may be taken.
    Open,
    /// The partition is revoked. It is given back after the running commit and the one that marks a clean end.
    Leaving,
}

/// The record that was taken from a partition whose records run alone. The next is taken after it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Solo {
    pub offset: i64,
    /// Whether it is executed or is about to be. The broker must hold a mark that says so first.
    pub executing: bool,
    /// It is not executed, but set aside as a dead letter.
    pub crashed: bool,
    /// Its result waits to be committed.
    pub resolved: bool,
}

#[derive(Debug)]
pub(super) struct Share<T> {
    pub epoch: Epoch,
    /// The epoch of the assignment. Recoveries do not change it.
    pub tenure: Epoch,
    pub ledger: Ledger<T>,
    pub flow: Flow,
    /// Nothing was taken since the assignment, so the consumer needs no seek.
    pub fresh: bool,
    /// What the broker holds, once it is read and has our mark.
    pub held: Option<Place>,
    pub solo: Option<Solo>,
}

impl<T> Share<T> {
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            tenure: epoch,
            ledger: Ledger::default(),
            flow: Flow::Unknown,
            fresh: true,
            held: None,
            solo: None,
        }
    }

    /// The same assignment in a new epoch, after a doubt or a revocation: everything taken is dropped.
    pub fn renewed(&self, epoch: Epoch, flow: Flow, held: Option<Place>) -> Self {
        Self {
            tenure: self.tenure,
            flow,
            fresh: self.fresh,
            held,
            ..Self::new(epoch)
        }
    }

    /// The broker holds our mark.
    pub fn claimed(&mut self, place: Place) {
        self.held = Some(place);
        self.flow = if self.fresh {
            Flow::Open
        } else {
            Flow::Seeking
        };
        self.fresh = false;
    }

    /// A commit of this place succeeded.
    pub fn settled(&mut self, place: Place) {
        match self.flow {
            Flow::Claiming(_) => self.claimed(place),
            _ => self.held = Some(place),
        }
        self.solo = self.solo.filter(|solo| solo.offset >= place.offset);
    }

    /// How the record at this offset is to be run, which is taken now.
    pub fn hand_out(&mut self, offset: i64) -> Manner {
        let Some(held) = self.held.filter(|held| held.mark.alone()) else {
            return Manner::Together;
        };
        let died = held.mark.crashed(offset);
        self.solo = Some(Solo {
            offset,
            executing: false,
            crashed: died.is_some(),
            resolved: false,
        });
        died.map_or(Manner::Alone, |died| Manner::Crashed { died })
    }

    /// The mark that is committed with the offset after a resolved record.
    pub fn moved(&self, owner: Incarnation) -> Mark {
        let crashed = self.solo.is_some_and(|solo| solo.crashed);
        self.held.map_or_else(
            || Mark::owned(owner),
            |held| held.mark.moved(owner, crashed),
        )
    }

    /// Whether its records run one at a time.
    pub fn alone(&self) -> bool {
        self.held.is_some_and(|held| held.mark.alone())
    }

    /// Whether a record may be taken.
    pub fn flows(&self) -> bool {
        self.flow == Flow::Open && !(self.alone() && self.solo.is_some())
    }

    /// The mark that is to be committed with an unchanged offset, where the broker's is another. `ending`: the whole
    /// loop ends cleanly.
    pub fn wanted(&self, ending: bool) -> Option<Place> {
        if let Flow::Claiming(place) = self.flow {
            return (!ending).then_some(place);
        }
        let held = self.held?;
        let mark = if ending || self.flow == Flow::Leaving {
            held.mark.owner.map(|_| held.mark.released())
        } else {
            let solo = self.solo?;
            held.mark.with_execution(solo.offset, solo.executing)
        };
        mark.map(|mark| Place { mark, ..held })
    }
}
