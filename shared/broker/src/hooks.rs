//! Faults on demand, for tests: hold, delay or drop the answers of an API.
//!
//! The request is carried out in any case; only its answer is tampered with. Compiled always: with no hook set an answer
//! costs one atomic load more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;

use crate::sync::lock;

#[derive(Debug, Default)]
struct Faults {
    held: HashMap<ApiKey, watch::Receiver<bool>>,
    delays: HashMap<ApiKey, Duration>,
    drops: HashMap<ApiKey, u32>,
}

#[derive(Debug, Default)]
struct Shared {
    active: AtomicBool,
    faults: Mutex<Faults>,
    /// Requests carried out, by API.
    served: Mutex<HashMap<ApiKey, u64>>,
    counting: AtomicBool,
}

/// A handle on the faults of one broker; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Hooks(Arc<Shared>);

/// While this lives, answers are held back; dropping it lets them go.
#[derive(Debug)]
#[must_use = "answers are held only while this lives"]
pub struct Hold {
    api: ApiKey,
    hooks: Hooks,
    release: watch::Sender<bool>,
}

impl Hold {
    /// Lets the held answers go.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.hooks.0.faults).held.remove(&self.api);
        self.release.send_replace(true);
    }
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Send,
    /// Close the connection in its place.
    Drop,
}

impl Hooks {
    /// Holds back every answer of `api` until the result is dropped.
    pub fn hold(&self, api: ApiKey) -> Hold {
        let (release, held) = watch::channel(false);
        self.set(|faults| faults.held.insert(api, held));
        Hold {
            api,
            hooks: self.clone(),
            release,
        }
    }

    /// Delays every answer of `api`; zero ends it.
    pub fn delay(&self, api: ApiKey, by: Duration) {
        self.set(|faults| faults.delays.insert(api, by));
    }

    /// Carries out the next `times` requests of `api` and closes the connection in place of an answer.
    pub fn drop_answers(&self, api: ApiKey, times: u32) {
        self.set(|faults| faults.drops.insert(api, times));
    }

    /// Ends every delay and drop; holds end with their [`Hold`].
    pub fn clear(&self) {
        let mut faults = lock(&self.0.faults);
        faults.delays.clear();
        faults.drops.clear();
    }

    /// How many requests of `api` were carried out since this was first asked.
    pub fn served(&self, api: ApiKey) -> u64 {
        self.0.counting.store(true, Ordering::Relaxed);
        self.0.active.store(true, Ordering::Release);
        lock(&self.0.served).get(&api).copied().unwrap_or(0)
    }

    fn set<T>(&self, change: impl FnOnce(&mut Faults) -> T) {
        change(&mut lock(&self.0.faults));
        self.0.active.store(true, Ordering::Release);
    }

    /// Called between carrying out a request and answering it.
    pub(crate) async fn before_answer(&self, api: ApiKey) -> Fate {
        if !self.0.active.load(Ordering::Acquire) {
            return Fate::Send;
        }
        if self.0.counting.load(Ordering::Relaxed) {
            *lock(&self.0.served).entry(api).or_default() += 1;
        }
        let (held, delay, fate) = {
            let mut faults = lock(&self.0.faults);
            let fate = match faults.drops.get_mut(&api) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    Fate::Drop
                }
                _ => Fate::Send,
            };
            (
                faults.held.get(&api).cloned(),
                faults.delays.get(&api).copied(),
                fate,
            )
        };
        if let Some(mut held) = held {
            // An error means that the hold is gone, which releases too.
            let _ = held.wait_for(|released| *released).await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        fate
    }
}
