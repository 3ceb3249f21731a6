//! The memory that all images together may take while they are decoded.

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::gauge::Gauge;

/// A number of bytes, granted in the order of the requests, so that a large image is not overtaken for ever.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
    taken: Gauge,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// The number of the next request.
    next: u64,
    /// The number of the oldest request that waits.
    first: u64,
}

impl Budget {
    /// A budget of `total` bytes. `taken` shows the bytes that are granted.
    pub(crate) fn new(total: u64, taken: Gauge) -> Self {
        let state = State {
            free: total,
            next: 0,
            first: 0,
        };
        Self {
            total,
            state: Mutex::new(state),
            changed: Condvar::new(),
            taken,
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Waits until this many bytes are free; `None` if they exceed the whole budget.
    pub(crate) fn take(&self, bytes: u64) -> Option<Grant<'_>> {
        if bytes > self.total {
            return None;
        }
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        self.changed.wait_while(&mut state, |state| {
            state.first != number || state.free < bytes
        });
        state.first += 1;
        state.free -= bytes;
        drop(state);
        self.changed.notify_all();
        self.taken.inc_by(bytes as i64);
        Some(Grant {
            budget: self,
            bytes,
        })
    }
}

/// Bytes that an image may use until this is dropped.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.budget.state.lock().free += self.bytes;
        self.budget.changed.notify_all();
        self.budget.taken.dec_by(self.bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::sync_channel, thread, time::Duration};

    #[test]
    fn more_than_the_budget_is_never_granted() {
        let budget = Budget::new(10, Gauge::default());
        assert!(budget.take(11).is_none());
        assert!(budget.take(10).is_some());
        assert!(budget.take(10).is_some());
    }

    #[test]
    fn a_large_request_is_not_overtaken() {
        let budget = Budget::new(10, Gauge::default());
        let (order, came) = sync_channel(2);
        let held = budget.take(6);
        let come = |name, bytes| {
            let grant = budget.take(bytes);
            order.send(name).unwrap();
            drop(grant);
        };
        thread::scope(|scope| {
            scope.spawn(|| come("large", 8));
            while budget.state.lock().next < 2 {
                thread::yield_now();
            }
            // It would fit, but the large one asked first.
            scope.spawn(|| come("small", 3));
            while budget.state.lock().next < 3 {
                thread::yield_now();
            }
            assert!(came.recv_timeout(Duration::from_millis(20)).is_err());
            drop(held);
            assert_eq!(came.recv().unwrap(), "large");
            assert_eq!(came.recv().unwrap(), "small");
        });
        assert_eq!(budget.state.lock().free, 10);
    }
}
