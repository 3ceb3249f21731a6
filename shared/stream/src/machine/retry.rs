//! When a record is tried again, and when no more.

use std::time::Duration;

/// Pauses that double with each attempt, with jitter, and a budget of attempts.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    /// The most attempts at a record.
    pub budget: u32,
    /// Pause after the first attempt.
    pub base: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl Retry {
    /// The pause after attempt number `attempt`, counted from 1; none where the budget is used up. `jitter` is a random
    /// number from 0 to 1: the pause is between half and all of its nominal length, so that records that failed at the
    /// same time are not tried again at the same time. The pause is at least `at_least`, which counts up to ten
    /// minutes.
    pub fn pause(&self, attempt: u32, at_least: Option<Duration>, jitter: f64) -> Option<Duration> {
        if attempt >= self.budget {
            return None;
        }
        let wish = at_least.unwrap_or_default().min(Duration::from_secs(600));
        Some(self.backoff(attempt, jitter).max(wish))
    }

    /// The pause without regard to the budget, for an attempt that does not count.
    pub fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1).min(20));
        let nominal = self.base.saturating_mul(doubled).min(self.max);
        nominal.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> Retry {
        Retry {
            budget: 5,
            base: Duration::from_millis(100),
            max: Duration::from_secs(1),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_budget() {
        let pauses: Vec<_> = (1..=5).map(|n| retry().pause(n, None, 1.0)).collect();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(pauses, [ms(100), ms(200), ms(400), ms(800), None]);
        assert_eq!(retry().backoff(40, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn jitter_takes_at_most_half_and_a_wish_is_honoured() {
        let ms = Duration::from_millis;
        assert_eq!(retry().pause(1, None, 0.0), Some(ms(50)));
        assert_eq!(retry().pause(1, Some(ms(700)), 1.0), Some(ms(700)));
        assert_eq!(
            retry().pause(1, Some(Duration::MAX), 1.0),
            Some(ms(600_000))
        );
    }
}
