//! Waiting for a condition, up to a deadline.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine; tests that pass wait less.
const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `condition` until it returns a value. Panics after 30 seconds, with `what` in the message.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, condition)
}

/// As [`eventually`], with the deadline `limit`.
#[track_caller]
pub fn eventually_within<T>(
    limit: Duration,
    what: &str,
    condition: impl FnMut() -> Option<T>,
) -> T {
    within(limit, condition).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Calls `condition` until it returns a value; `None` if it returns none within `limit`.
pub(crate) fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match condition() {
            Some(value) => return Some(value),
            None if Instant::now() >= deadline => return None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
