//! One partition while it is ours.

use super::{Incarnation, Ledger, Manner, Mark};

/// Raised with each assignment of a partition and with each recovery. A record is stamped with the epoch it was taken
/// under; when that is no longer the partition's, nothing that came of the record may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub(super) u64);

/// What the broker holds for a partition: where to go on, and what stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: i64,
    pub mark: Mark,
}

/// Whether a partition gives records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// What the broker holds as committed must be read first: the partition is new, or a commit is in doubt.
    Unknown,
    /// Read, and waiting for our mark to be committed beside the same offset.
    Claiming(Place),
    /// Waiting for the consumer to go on from the committed offset.
    Seeking,
    /// Records flow.
    Open,
    /// Revoked, and waiting to be given back: for the running commit, and for one that says that we end cleanly.
    Leaving,
}

/// The record that a partition whose records run alone has handed out; the next one waits until it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Solo {
    pub offset: i64,
    /// Whether it is, or wants to be, executed; what the broker holds says so first.
    pub executing: bool,
    /// It is not executed any more: it is set aside.
    pub crashed: bool,
    /// What came of it is known and waits to be committed.
    pub resolved: bool,
}

#[derive(Debug)]
pub(super) struct Share<T> {
    pub epoch: Epoch,
    /// The epoch in which the partition became ours: recoveries don't change it.
    pub tenure: Epoch,
    pub ledger: Ledger<T>,
    pub flow: Flow,
    /// Nothing was taken since it became ours: the consumer stands where the broker says.
    pub fresh: bool,
    /// What the broker holds, once it is read and ours.
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

    /// After a doubt, or a revocation: what was taken is dropped, and what the broker holds is `held`.
    pub fn renewed(&self, epoch: Epoch, flow: Flow, held: Option<Place>) -> Self {
        Self {
            tenure: self.tenure,
            flow,
            fresh: self.fresh,
            held,
            ..Self::new(epoch)
        }
    }

    /// The broker holds our mark: records may flow.
    pub fn claimed(&mut self, place: Place) {
        self.held = Some(place);
        self.flow = if self.fresh {
            Flow::Open
        } else {
            Flow::Seeking
        };
        self.fresh = false;
    }

    /// A commit that left this for the partition succeeded.
    pub fn settled(&mut self, place: Place) {
        match self.flow {
            Flow::Claiming(_) => self.claimed(place),
            _ => self.held = Some(place),
        }
        self.solo = self.solo.filter(|solo| solo.offset >= place.offset);
    }

    /// How the record at this offset, which is taken now, is to be run.
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

    /// The mark beside the offset that a resolved record moves to.
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

    /// What the broker should hold and does not, at an unchanged offset. `ending`: the whole loop ends cleanly.
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
