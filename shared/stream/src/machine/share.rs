//! One partition while it is ours.

use super::Ledger;

/// Raised with each assignment of a partition and with each recovery. A record is stamped with the epoch it was taken
/// under; when that is no longer the partition's, nothing that came of the record may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub(super) u64);

/// Whether a partition gives records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Records flow.
    Open,
    /// A commit is in doubt: what the broker holds as committed must be read first.
    Unknown,
    /// Known where to go on, and waiting for the consumer to seek there; none means the beginning.
    Seeking(Option<i64>),
    /// Revoked, and waiting for the running commit before it is given back.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Share<T> {
    pub epoch: Epoch,
    pub ledger: Ledger<T>,
    pub flow: Flow,
}

impl<T> Share<T> {
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            ledger: Ledger::default(),
            flow: Flow::Open,
        }
    }
}
