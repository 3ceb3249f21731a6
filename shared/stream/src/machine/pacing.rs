//! When to commit: as soon as records, bytes or age ask for it.

use std::time::Duration;

/// A commit at once when the last one lies an interval back, else when it does, or when enough has gathered.
///
/// The pause is for the broker: a producer's next transaction has to wait for the markers of its last one.
#[derive(Debug, Clone)]
pub(crate) struct Pacing {
    pub interval: Duration,
    pub max_records: usize,
    pub max_bytes: usize,
}

/// What to do about finished records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    /// At this time, if nothing happens before.
    At(Duration),
    /// Nothing is there to commit.
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
