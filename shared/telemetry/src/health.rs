//! Liveness and readiness as named checks. A check that fails gives its reasons, so that a probe's response says what
//! is
//! wrong.

use parking_lot::RwLock;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Why a check fails; empty if it passes.
type Reasons = Vec<&'static str>;

type Check = Box<dyn Fn() -> Reasons + Send + Sync>;

/// The checks of a process; clones share them. A process without checks is live and ready.
#[derive(Clone, Default)]
pub struct Health {
    live: Arc<Checks>,
    ready: Arc<Checks>,
}

#[derive(Default)]
struct Checks(RwLock<Vec<(String, Check)>>);

/// The body of a probe's response.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether all checks pass.
    pub ok: bool,
    /// The names of the checks that fail, each with its reasons.
    pub failing: BTreeMap<String, Reasons>,
}

impl Health {
    /// Adds a check of liveness. While it returns reasons, the process should be restarted.
    pub fn live_unless(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> Reasons + Send + Sync + 'static,
    ) {
        self.live.add(name.into(), Box::new(check));
    }

    /// Adds a check of readiness. While it returns reasons, the process should get no work, and a rollout should wait
    /// for it.
    pub fn ready_unless(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> Reasons + Send + Sync + 'static,
    ) {
        self.ready.add(name.into(), Box::new(check));
    }

    /// Runs the checks of liveness, as `/livez` does.
    pub fn live(&self) -> Verdict {
        self.live.verdict()
    }

    /// Runs the checks of readiness, as `/readyz` does.
    pub fn ready(&self) -> Verdict {
        self.ready.verdict()
    }
}

impl Checks {
    fn add(&self, name: String, check: Check) {
        self.0.write().push((name, check));
    }

    fn verdict(&self) -> Verdict {
        let checks = self.0.read();
        let reasons = checks.iter().map(|(name, check)| (name.clone(), check()));
        let failing: BTreeMap<_, _> = reasons.filter(|(_, why)| !why.is_empty()).collect();
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
    fn names_what_fails_and_why() {
        let health = Health::default();
        assert!(health.ready().ok);
        health.ready_unless("model", || vec!["not loaded yet"]);
        health.ready_unless("producer", Vec::new);
        let verdict = health.ready();
        assert!(!verdict.ok);
        assert_eq!(
            serde_json::to_value(verdict.failing).unwrap(),
            serde_json::json!({"model": ["not loaded yet"]})
        );
        assert!(health.live().ok);
    }
}
