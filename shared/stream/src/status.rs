//! Whether a loop is alive and ready, for a service's health endpoints.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The threads tick ten times a second. One that has not ticked for this long hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// The state of one loop. The loop sets it, the health endpoints read it; clones share the state.
#[derive(Debug, Clone)]
pub struct Status(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    running: AtomicBool,
    poll_tick_ms: AtomicU64,
    commit_tick_ms: AtomicU64,
    calling: AtomicBool,
    producer_ready: AtomicBool,
    circuit_open: AtomicBool,
    draining: AtomicBool,
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Status {
    /// The status of a loop that has not started.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            running: AtomicBool::new(false),
            poll_tick_ms: AtomicU64::new(0),
            commit_tick_ms: AtomicU64::new(0),
            calling: AtomicBool::new(false),
            producer_ready: AtomicBool::new(false),
            circuit_open: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    /// Whether the poll thread and the commit thread have ticked within the last minute. True before the loop starts,
    /// and while the commit thread waits for brokers that are away.
    pub fn alive(&self) -> bool {
        self.hung_because().is_empty()
    }

    /// Why the loop should be restarted, each reason a text for the answer of `/livez`; empty while it is
    /// [`alive`](Self::alive).
    pub fn hung_because(&self) -> Vec<&'static str> {
        let silent = |tick: &AtomicU64| {
            let last = Duration::from_millis(tick.load(Relaxed));
            self.0.start.elapsed().saturating_sub(last) > SILENCE
        };
        let running = self.0.running.load(Relaxed);
        let calling = self.0.calling.load(Relaxed);
        let checks = [
            (silent(&self.0.poll_tick_ms), "the poll loop hangs"),
            (
                silent(&self.0.commit_tick_ms) && !calling,
                "the committer hangs",
            ),
        ];
        reasons(checks.map(|(hangs, why)| (running && hangs, why)))
    }

    /// Whether the producer is initialised, the circuit is closed and nobody asked the loop to stop.
    pub fn ready(&self) -> bool {
        self.unready_because().is_empty()
    }

    /// Why the loop is not ready, each reason a text for the answer of `/readyz`; empty while it is ready. The reasons:
    /// not started yet, no producer, circuit open, stopping.
    pub fn unready_because(&self) -> Vec<&'static str> {
        let stopping = self.0.draining.load(Relaxed);
        let starting = !self.0.running.load(Relaxed) && !stopping;
        reasons([
            (starting, "starting"),
            (
                !self.0.producer_ready.load(Relaxed) && !starting,
                "transactional producer not initialised",
            ),
            (
                self.0.circuit_open.load(Relaxed),
                "circuit open: more than half of the last minute's records failed",
            ),
            (stopping, "stopping"),
        ])
    }

    pub(crate) fn start(&self) {
        self.poll_tick();
        self.commit_tick();
        self.0.running.store(true, Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.draining();
        self.0.running.store(false, Relaxed);
        self.0.producer_ready.store(false, Relaxed);
    }

    pub(crate) fn poll_tick(&self) {
        self.0.poll_tick_ms.store(self.now_ms(), Relaxed);
    }

    pub(crate) fn commit_tick(&self) {
        self.0.commit_tick_ms.store(self.now_ms(), Relaxed);
    }

    /// The commit thread is in a call that may last as long as the brokers are away.
    pub(crate) fn calling(&self, calling: bool) {
        self.0.calling.store(calling, Relaxed);
    }

    pub(crate) fn producer_ready(&self, ready: bool) {
        self.0.producer_ready.store(ready, Relaxed);
    }

    pub(crate) fn circuit_open(&self, open: bool) {
        self.0.circuit_open.store(open, Relaxed);
    }

    pub(crate) fn draining(&self) {
        self.0.draining.store(true, Relaxed);
    }

    fn now_ms(&self) -> u64 {
        self.0.start.elapsed().as_millis() as u64
    }
}

fn reasons<const N: usize>(checks: [(bool, &'static str); N]) -> Vec<&'static str> {
    let bad = checks.into_iter().filter(|(bad, _)| *bad);
    bad.map(|(_, why)| why).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_why_it_is_not_ready() {
        let status = Status::new();
        assert_eq!(status.unready_because(), ["starting"]);
        status.start();
        assert_eq!(
            status.unready_because(),
            ["transactional producer not initialised"]
        );
        status.producer_ready(true);
        assert!(status.ready());
        status.circuit_open(true);
        let why = status.unready_because();
        assert!(matches!(why[..], [why] if why.starts_with("circuit open")));
        status.circuit_open(false);
        status.draining();
        assert_eq!(status.unready_because(), ["stopping"]);
        status.stop();
        assert!(!status.ready());
        assert_eq!(status.unready_because().last(), Some(&"stopping"));
    }
}
