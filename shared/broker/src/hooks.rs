//! Fault injection for tests: hold, delay or drop the replies of an API.
//!
//! The request is carried out in any case; only its reply is affected. With no fault set, a reply costs one more atomic
//! load.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use tokio::sync::watch;

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

/// The faults of one broker; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Hooks(Arc<Shared>);

/// Holds replies back until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it releases the replies"]
pub struct Hold {
    api: ApiKey,
    hooks: Hooks,
    release: watch::Sender<bool>,
}

impl Hold {
    /// Releases the held replies.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.hooks.0.faults.lock().held.remove(&self.api);
        self.release.send_replace(true);
    }
}

/// What happens to a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Send,
    /// Close the connection instead.
    Drop,
}

impl Hooks {
    /// Holds back every reply of `api` until the result is dropped.
    pub fn hold(&self, api: ApiKey) -> Hold {
        let (release, held) = watch::channel(false);
        self.set(|faults| faults.held.insert(api, held));
        Hold {
            api,
            hooks: self.clone(),
            release,
        }
    }

    /// Delays every reply of `api`; zero ends the delay.
    pub fn delay(&self, api: ApiKey, by: Duration) {
        self.set(|faults| faults.delays.insert(api, by));
    }

    /// Carries out the next `times` requests of `api` and closes the connection instead of replying.
    pub fn drop_answers(&self, api: ApiKey, times: u32) {
        self.set(|faults| faults.drops.insert(api, times));
    }

    /// Ends every delay and drop; holds end with their [`Hold`].
    pub fn clear(&self) {
        let mut faults = self.0.faults.lock();
        faults.delays.clear();
        faults.drops.clear();
    }

    /// Requests of `api` carried out since the first call of this method.
    pub fn served(&self, api: ApiKey) -> u64 {
        self.0.counting.store(true, Ordering::Relaxed);
        self.0.active.store(true, Ordering::Release);
        self.0.served.lock().get(&api).copied().unwrap_or(0)
    }

    fn set<T>(&self, change: impl FnOnce(&mut Faults) -> T) {
        change(&mut self.0.faults.lock());
        self.0.active.store(true, Ordering::Release);
    }

    /// Called between carrying out a request and replying.
    pub(crate) async fn before_answer(&self, api: ApiKey) -> Fate {
        if !self.0.active.load(Ordering::Acquire) {
            return Fate::Send;
        }
        if self.0.counting.load(Ordering::Relaxed) {
            *self.0.served.lock().entry(api).or_default() += 1;
        }
        let (held, delay, fate) = {
            let mut faults = self.0.faults.lock();
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
