//! How long a stage has worked on an attempt. Time that the stage waits does not count.

use parking_lot::Mutex;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The shortest pause between two checks of the time: an attempt may exceed its time by this much.
const LOOK: Duration = Duration::from_millis(10);

/// How long the stage has worked on one attempt at a record. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Waits>>);

#[derive(Debug)]
struct Waits {
    started: Instant,
    /// How many waits go on now.
    open: usize,
    /// When the first of them began.
    since: Instant,
    /// The time of waits that have ended; time that several share counts once.
    over: Duration,
}

impl Waits {
    fn worked(&self, now: Instant) -> Duration {
        let open = match self.open {
            0 => Duration::ZERO,
            _ => now - self.since,
        };
        (now - self.started).saturating_sub(self.over + open)
    }
}

/// A wait that ends when this is dropped.
#[derive(Debug)]
#[must_use = "the clock is stopped until this is dropped"]
pub struct Waiting<'a>(&'a Clock);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.0.lock();
        waits.open -= 1;
        if waits.open == 0 {
            let wait = waits.since.elapsed();
            waits.over += wait;
        }
    }
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Waits {
            started: now,
            open: 0,
            since: now,
            over: Duration::ZERO,
        })))
    }

    /// Stops until `wait` ends or is dropped.
    pub(crate) async fn waiting<F: Future>(&self, wait: F) -> F::Output {
        let _waiting = self.stop();
        wait.await
    }

    /// Ends once the stage has worked for as long as this.
    pub(crate) async fn worked(&self, longest: Duration) {
        loop {
            let left = longest.saturating_sub(self.0.lock().worked(Instant::now()));
            if left.is_zero() {
                return;
            }
            // The time can't be up earlier, whether the stage waits now or not.
            tokio::time::sleep(left.max(LOOK)).await;
        }
    }

    /// Stops until the returned value is dropped. This is for a thread that waits; a task uses
    /// [`Record::waiting`](crate::Record::waiting).
    pub fn stop(&self) -> Waiting<'_> {
        let mut waits = self.0.lock();
        if waits.open == 0 {
            waits.since = Instant::now();
        }
        waits.open += 1;
        Waiting(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{sleep, timeout};

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_while_the_stage_waits() {
        let clock = Clock::start();
        sleep(SECOND).await;
        clock.waiting(sleep(10 * MINUTE)).await;
        sleep(2 * SECOND).await;
        assert_eq!(clock.0.lock().worked(Instant::now()), 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_at_the_same_time_count_once() {
        let clock = Clock::start();
        let second = async {
            sleep(SECOND).await;
            clock.waiting(sleep(3 * SECOND)).await;
        };
        tokio::join!(clock.waiting(sleep(2 * SECOND)), second);
        sleep(SECOND).await;
        assert_eq!(clock.0.lock().worked(Instant::now()), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_is_over() {
        let clock = Clock::start();
        let given_up = timeout(SECOND, clock.waiting(sleep(MINUTE))).await;
        assert!(given_up.is_err());
        sleep(SECOND).await;
        assert_eq!(clock.0.lock().worked(Instant::now()), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_in_mid_work_moves_the_end() {
        let clock = Clock::start();
        let start = Instant::now();
        let work = async {
            sleep(MINUTE).await;
            clock.waiting(sleep(10 * MINUTE)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => {}
            () = clock.worked(2 * MINUTE) => {}
        }
        let took = start.elapsed();
        assert!(
            (12 * MINUTE..12 * MINUTE + SECOND).contains(&took),
            "{took:?}"
        );
    }
}
