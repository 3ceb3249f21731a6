//! Locks that outlive a panic, and the waking of fetches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Locks; what a panicking holder left is taken as it is, since every change here is whole before anything can panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches that wait for a partition to change.
#[derive(Debug, Default)]
pub struct Waiters(Mutex<Vec<Weak<Notify>>>);

impl Waiters {
    /// Wakes `waiter` once at the next change; it waits no longer when its last `Arc` goes.
    pub fn add(&self, waiter: &Arc<Notify>) {
        let mut waiting = lock(&self.0);
        waiting.retain(|w| w.strong_count() > 0);
        waiting.push(Arc::downgrade(waiter));
    }

    pub fn wake(&self) {
        for waiter in lock(&self.0).drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
}
