//! How far a loop has come, from its start to its end.

use parking_lot::Mutex;

/// A loop's phases, in their order. A loop only moves forward, and may skip phases.
///
/// A loop that was asked to stop remains in `Running` while it finishes what is in flight: that is a state of the
/// [machine](crate::machine::Machine::drain).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The committer has no producer yet. The consumer must not join the group.
    Starting,
    /// The consumer may join the group.
    Running,
    /// The time to drain is over. The committer ends, whatever is still in flight.
    Late,
    /// The committer has ended. The consumer leaves the group.
    Leaving,
    /// Both threads stop where they are, as if the process had died.
    Killed,
}

/// The current phase of one loop.
pub(crate) struct Progress(Mutex<Phase>);

impl Progress {
    pub fn new() -> Self {
        Self(Mutex::new(Phase::Starting))
    }

    pub fn phase(&self) -> Phase {
        *self.0.lock()
    }

    /// Moves on to a phase; does nothing where the loop is past it.
    pub fn advance(&self, to: Phase) {
        let mut phase = self.0.lock();
        *phase = to.max(*phase);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_never_goes_back() {
        let progress = Progress::new();
        progress.advance(Phase::Late);
        // The committer may come to this only after the time to drain is over.
        progress.advance(Phase::Running);
        assert_eq!(progress.phase(), Phase::Late);
        progress.advance(Phase::Killed);
        progress.advance(Phase::Leaving);
        assert_eq!(progress.phase(), Phase::Killed);
    }
}
