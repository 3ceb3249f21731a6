//! A wake-up for a thread that waits.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Remembers one wake-up, so that none is lost between looking for work and waiting.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    woken: Mutex<bool>,
    condition: Condvar,
}

impl Signal {
    pub fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condition.notify_one();
    }

    /// Returns on a wake-up, at the latest after `longest`.
    pub fn wait(&self, longest: Duration) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .condition
            .wait_timeout_while(woken, longest, |woken| !*woken);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
