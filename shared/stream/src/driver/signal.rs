//! A wake-up for a thread that waits.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Remembers a wake-up, so that none is lost between looking for work and waiting.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    woken: Mutex<bool>,
    condition: Condvar,
}

impl Signal {
    pub fn wake(&self) {
        *self.woken.lock() = true;
        self.condition.notify_one();
    }

    /// Returns on a wake-up, at the latest after `longest`.
    pub fn wait(&self, longest: Duration) {
        let mut woken = self.woken.lock();
        self.condition
            .wait_while_for(&mut woken, |woken| !*woken, longest);
        *woken = false;
    }
}
