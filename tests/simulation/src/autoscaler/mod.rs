//! The algorithm of the HorizontalPodAutoscaler in Kubernetes 1.34.2: the replicas that the metrics ask for
//! (`calculator`), and how `spec.behavior` limits changes (`behavior`).
//!
//! Source: `pkg/controller/podautoscaler/horizontal.go` and `replica_calculator.go` of `k8s.io/kubernetes`. Comments give
//! the names of the functions there. Times are in whole seconds.

mod behavior;
mod calculator;

pub use behavior::{Behavior, Policy, PolicyKind, Rules, Select};
pub use calculator::{Cpu, PodView, Sample};

use behavior::History;
use calculator::{Tolerances, cpu_replicas, per_pod_replicas, value_replicas};

pub type Seconds = i64;

/// The default of kube-controller-manager's `--horizontal-pod-autoscaler-sync-period`.
pub const SYNC_PERIOD: Seconds = 15;
const TOLERANCE: f64 = 0.1;

/// The `spec` of a HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub min_replicas: i32,
    pub max_replicas: i32,
    pub metrics: Vec<Metric>,
    pub behavior: Behavior,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// Processor time of one container, relative to its request.
    ContainerCpu {
        target_percent: i64,
    },
    External {
        name: String,
        target: Target,
    },
}

/// The target of a metric, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// For the metric's value: the replicas change by the ratio of value and target.
    Value(i64),
    /// For the metric's value divided by the number of replicas.
    AverageValue(i64),
}

/// What the controller observes.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `spec.replicas` of the scaled object.
    pub spec_replicas: i32,
    /// `status.replicas`: pods that exist.
    pub status_replicas: i32,
    pub pods: &'a [PodView],
    /// The values of the external metrics in thousandths, in their order; `None` for a metric without a value.
    pub external: &'a [Option<i64>],
}

/// The controller, for one HorizontalPodAutoscaler.
#[derive(Debug)]
pub struct Autoscaler {
    spec: Spec,
    history: History,
}

impl Autoscaler {
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            history: History::default(),
        }
    }

    /// The number of replicas from now on (`reconcileAutoscaler`).
    pub fn sync(&mut self, now: Seconds, seen: Seen) -> i32 {
        let (min, max) = (self.spec.min_replicas, self.spec.max_replicas);
        let current = seen.spec_replicas;
        self.history.begin(now, current);
        if current == 0 && min != 0 {
            return 0;
        }
        let desired = if current > max {
            max
        } else if current < min {
            min
        } else {
            let Some(proposed) = self.proposed(now, seen) else {
                return current;
            };
            let limits = (min, max);
            self.history
                .normalize(now, &self.spec.behavior, limits, current, proposed)
        };
        self.history
            .changed(now, &self.spec.behavior, current, desired);
        desired
    }

    /// The largest number that a metric asks for; `None` if a metric has no value and the others would scale down
    /// (`computeReplicasForMetrics`).
    fn proposed(&self, now: Seconds, seen: Seen) -> Option<i32> {
        let tolerances = Tolerances {
            up: self.spec.behavior.up.tolerance.unwrap_or(TOLERANCE),
            down: self.spec.behavior.down.tolerance.unwrap_or(TOLERANCE),
        };
        let mut external = seen.external.iter();
        let answers: Vec<Option<i32>> = self
            .spec
            .metrics
            .iter()
            .map(|metric| match metric {
                Metric::ContainerCpu { target_percent } => cpu_replicas(
                    now,
                    seen.spec_replicas,
                    *target_percent,
                    tolerances,
                    seen.pods,
                ),
                Metric::External { target, .. } => {
                    let usage = (*external.next()?)?;
                    Some(match target {
                        Target::Value(target) => value_replicas(
                            seen.spec_replicas,
                            usage,
                            *target,
                            tolerances,
                            seen.pods,
                        ),
                        Target::AverageValue(target) => {
                            per_pod_replicas(seen.status_replicas, usage, *target, tolerances)
                        }
                    })
                }
            })
            .collect();
        let largest = answers.iter().flatten().copied().max()?;
        let silent = answers.iter().any(Option::is_none);
        (!silent || largest >= seen.spec_replicas).then_some(largest)
    }
}

#[cfg(test)]
mod tests;
