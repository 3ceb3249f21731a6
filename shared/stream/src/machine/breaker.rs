//! A circuit breaker. When most records fail, the cause is not in the records but in what they need.

use std::{collections::VecDeque, time::Duration};

const WINDOW: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Opens when more than half of the last minute's records failed. While it is open, no record is taken and no retry
/// uses up the budget. After a pause, one record is admitted as a probe: its success closes the circuit, its failure
/// doubles the pause, up to five minutes.
#[derive(Debug)]
pub(crate) struct Breaker {
    min_records: u32,
    pause: Duration,
    state: State,
    /// Successes and failures by second, oldest first.
    seconds: VecDeque<Second>,
}

#[derive(Debug)]
struct Second {
    number: u64,
    good: u32,
    bad: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Duration,
        pause: Duration,
    },
    /// A probe is admitted at `next_probe`. A probe whose partition is revoked never reports, so another one follows.
    HalfOpen {
        next_probe: Duration,
        pause: Duration,
    },
}

impl Breaker {
    pub fn new(min_records: u32, pause: Duration) -> Self {
        Self {
            min_records,
            pause,
            state: State::Closed,
            seconds: VecDeque::new(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Whether a record may be taken now.
    pub fn admits(&mut self, now: Duration) -> bool {
        self.advance(now);
        match self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::HalfOpen { next_probe, .. } => now >= next_probe,
        }
    }

    /// A record was taken. While the circuit is half open, it is the probe.
    pub fn taken(&mut self, now: Duration) {
        if let State::HalfOpen { next_probe, pause } = &mut self.state {
            *next_probe = now + *pause;
        }
    }

    /// When the circuit admits a record again; none where it does now.
    pub fn closed_until(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until, .. } => Some(until),
            State::HalfOpen { next_probe, .. } => Some(next_probe),
        }
        .filter(|until| *until > now)
    }

    pub fn good(&mut self, now: Duration) {
        self.advance(now);
        if let State::HalfOpen { .. } = self.state {
            self.state = State::Closed;
            self.seconds.clear();
        }
        self.second(now).good += 1;
    }

    pub fn bad(&mut self, now: Duration) {
        self.advance(now);
        self.second(now).bad += 1;
        match self.state {
            State::HalfOpen { pause, .. } => self.open(now, (pause * 2).min(LONGEST_PAUSE)),
            State::Closed if self.mostly_bad() => self.open(now, self.pause),
            _ => {}
        }
    }

    fn open(&mut self, now: Duration, pause: Duration) {
        let until = now + pause;
        self.state = State::Open { until, pause };
    }

    fn mostly_bad(&self) -> bool {
        let (good, bad) = self
            .seconds
            .iter()
            .fold((0u64, 0u64), |(good, bad), second| {
                (good + u64::from(second.good), bad + u64::from(second.bad))
            });
        good + bad >= u64::from(self.min_records) && bad > good
    }

    fn advance(&mut self, now: Duration) {
        if let State::Open { until, pause } = self.state
            && now >= until
        {
            let next_probe = until;
            self.state = State::HalfOpen { next_probe, pause };
        }
        let oldest = now.saturating_sub(WINDOW).as_secs();
        while self.seconds.front().is_some_and(|s| s.number < oldest) {
            self.seconds.pop_front();
        }
    }

    fn second(&mut self, now: Duration) -> &mut Second {
        let number = now.as_secs();
        if self.seconds.back().is_none_or(|last| last.number < number) {
            self.seconds.push_back(Second {
                number,
                good: 0,
                bad: 0,
            });
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(4, PAUSE);
        for _ in 0..4 {
            breaker.bad(s(1));
        }
        breaker
    }

    #[test]
    fn a_few_failures_do_not_open_it() {
        let mut breaker = Breaker::new(4, PAUSE);
        for _ in 0..3 {
            breaker.bad(s(1));
        }
        assert!(breaker.admits(s(1)));
        for _ in 0..3 {
            breaker.good(s(2));
        }
        breaker.good(s(2));
        breaker.bad(s(2));
        assert!(!breaker.is_open(), "half is not more than half");
    }

    #[test]
    fn failures_of_more_than_a_minute_ago_are_forgotten() {
        let mut breaker = Breaker::new(4, PAUSE);
        for _ in 0..3 {
            breaker.bad(s(1));
        }
        breaker.bad(s(70));
        assert!(!breaker.is_open());
    }

    #[test]
    fn opens_probes_and_closes_again() {
        let mut breaker = opened();
        assert!(!breaker.admits(s(5)));
        assert_eq!(breaker.closed_until(s(5)), Some(s(11)));
        assert!(breaker.admits(s(11)), "the probe");
        breaker.taken(s(11));
        assert!(!breaker.admits(s(11)), "one at a time");
        breaker.good(s(12));
        assert!(breaker.admits(s(12)) && !breaker.is_open());
        breaker.bad(s(12));
        assert!(!breaker.is_open(), "the minute before counts no more");
    }

    #[test]
    fn a_failed_probe_doubles_the_pause_and_a_lost_one_is_followed() {
        let mut breaker = opened();
        assert!(breaker.admits(s(11)));
        breaker.taken(s(11));
        assert!(breaker.admits(s(21)), "the first probe never reported");
        breaker.bad(s(22));
        assert!(!breaker.admits(s(41)));
        assert!(breaker.admits(s(42)));
    }

    #[test]
    fn late_successes_do_not_close_it_before_the_probe() {
        let mut breaker = opened();
        breaker.good(s(2));
        assert!(!breaker.admits(s(3)));
    }
}
