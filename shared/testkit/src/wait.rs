//! Waiting for a condition, up to a deadline.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that passes never waits as long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Asks until `condition` gives a value, for 30 seconds; panics then, naming what was awaited.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, condition)
}

/// As [`eventually`], with a deadline of the caller's.
#[track_caller]
pub fn eventually_within<T>(
    limit: Duration,
    what: &str,
    condition: impl FnMut() -> Option<T>,
) -> T {
    within(limit, condition).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Asks until `condition` gives a value; none when it gives none within `limit`.
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match condition() {
            Some(value) => return Some(value),
            None if Instant::now() >= deadline => return None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
