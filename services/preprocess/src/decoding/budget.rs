//! Memory that images may take while they are decoded, all together.

use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus_client::metrics::gauge::Gauge;

/// A number of bytes, handed out in the order in which they are asked for, so that a large image gets its turn.
#[derive(Debug)]
pub(crate) struct Room {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
    taken: Gauge,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// Numbers of whoever comes next, and of whoever is first in the line.
    next: u64,
    first: u64,
}

impl Room {
    /// `taken` shows the bytes that are handed out.
    pub fn new(total: u64, taken: Gauge) -> Self {
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

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Waits until there are so many bytes; none where there never are.
    pub fn take(&self, bytes: u64) -> Option<Place<'_>> {
        if bytes > self.total {
            return None;
        }
        let mut state = self.state();
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
        Some(Place { room: self, bytes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Bytes that are an image's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.state().free += self.bytes;
        self.room.changed.notify_all();
        self.room.taken.dec_by(self.bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::sync_channel, thread, time::Duration};

    #[test]
    fn more_than_there_is_never_fits() {
        let room = Room::new(10, Gauge::default());
        assert!(room.take(11).is_none());
        assert!(room.take(10).is_some());
        assert!(room.take(10).is_some());
    }

    #[test]
    fn a_large_one_is_not_overtaken() {
        let room = Room::new(10, Gauge::default());
        let (order, came) = sync_channel(2);
        let held = room.take(6);
        let come = |name, bytes| {
            let place = room.take(bytes);
            order.send(name).unwrap();
            drop(place);
        };
        thread::scope(|scope| {
            scope.spawn(|| come("large", 8));
            while room.state().next < 2 {
                thread::yield_now();
            }
            // It would fit, and waits for its turn.
            scope.spawn(|| come("small", 3));
            while room.state().next < 3 {
                thread::yield_now();
            }
            assert!(came.recv_timeout(Duration::from_millis(20)).is_err());
            drop(held);
            assert_eq!(came.recv().unwrap(), "large");
            assert_eq!(came.recv().unwrap(), "small");
        });
        assert_eq!(room.state().free, 10);
    }
}
