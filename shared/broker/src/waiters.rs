//! Waking fetches that wait for a partition to change.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Fetches that wait for a partition to change.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Weak<Notify>>>);

impl Waiters {
    /// Notifies `waiter` once, at the next change. A waiter whose last `Arc` is dropped is forgotten.
    pub(crate) fn add(&self, waiter: &Arc<Notify>) {
        let mut waiting = self.0.lock();
        waiting.retain(|w| w.strong_count() > 0);
        waiting.push(Arc::downgrade(waiter));
    }

    pub(crate) fn wake(&self) {
        for waiter in self.0.lock().drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
}
