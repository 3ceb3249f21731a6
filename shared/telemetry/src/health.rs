//! Liveness and readiness as named checks, so that a probe's answer says what is wrong.

use serde::Serialize;
use std::sync::{Arc, PoisonError, RwLock};

type Check = Box<dyn Fn() -> bool + Send + Sync>;

/// The checks of a process; clones share them. A process without checks is live and ready.
#[derive(Clone, Default)]
pub struct Health {
    live: Arc<Checks>,
    ready: Arc<Checks>,
}

#[derive(Default)]
struct Checks(RwLock<Vec<(String, Check)>>);

/// The body of a probe's answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub ok: bool,
    /// Names of the checks that do not hold.
    pub failing: Vec<String>,
}

impl Health {
    /// While `check` is false the process should be restarted.
    pub fn live_while(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        self.live.add(name.into(), Box::new(check));
    }

    /// While `check` is false the process should be given no work and not be counted as rolled out.
    pub fn ready_while(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        self.ready.add(name.into(), Box::new(check));
    }

    pub fn live(&self) -> Verdict {
        self.live.verdict()
    }

    pub fn ready(&self) -> Verdict {
        self.ready.verdict()
    }
}

impl Checks {
    fn add(&self, name: String, check: Check) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, check));
    }

    fn verdict(&self) -> Verdict {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let failing: Vec<_> = checks
            .iter()
            .filter(|(_, check)| !check())
            .map(|(name, _)| name.clone())
            .collect();
        Verdict {
            ok: failing.is_empty(),
            failing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_fails() {
        let health = Health::default();
        assert!(health.ready().ok);
        health.ready_while("model", || false);
        health.ready_while("producer", || true);
        assert_eq!(
            health.ready(),
            Verdict {
                ok: false,
                failing: vec!["model".into()]
            }
        );
        assert!(health.live().ok);
    }
}
