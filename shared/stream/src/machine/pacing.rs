//! When to commit: by the number of records and bytes, and by the time since the last commit.

use std::time::Duration;

/// A commit is due as soon as the last one is an interval old, or enough records or bytes wait.
///
/// The interval spares the broker: a producer's next transaction has to wait for the markers of its last one.
#[derive(Debug, Clone)]
pub(crate) struct Pacing {
    pub interval: Duration,
    pub max_records: usize,
    pub max_bytes: usize,
}

/// When finished records are to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    /// At this time, unless more records are finished before.
    At(Duration),
    /// There is nothing to commit.
    Never,
}

impl Pacing {
    pub fn due(
        &self,
        now: Duration,
        last_commit: Option<Duration>,
        records: usize,
        bytes: usize,
    ) -> Due {
        if records == 0 {
            return Due::Never;
        }
        if records >= self.max_records || bytes >= self.max_bytes {
            return Due::Now;
        }
        match last_commit.map(|last| last + self.interval) {
            Some(then) if then > now => Due::At(then),
            _ => Due::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_at_once_after_a_pause_and_waits_for_the_interval_otherwise() {
        let ms = Duration::from_millis;
        let pacing = Pacing {
            interval: ms(10),
            max_records: 5,
            max_bytes: 100,
        };
        assert_eq!(pacing.due(ms(0), None, 0, 0), Due::Never);
        assert_eq!(pacing.due(ms(0), None, 1, 1), Due::Now);
        assert_eq!(pacing.due(ms(20), Some(ms(10)), 1, 1), Due::Now);
        assert_eq!(pacing.due(ms(19), Some(ms(10)), 1, 1), Due::At(ms(20)));
        assert_eq!(pacing.due(ms(11), Some(ms(10)), 5, 1), Due::Now);
        assert_eq!(pacing.due(ms(11), Some(ms(10)), 1, 100), Due::Now);
    }
}
