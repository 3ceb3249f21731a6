//! The replicas that one metric asks for (`replica_calculator.go`).

use super::Seconds;

/// kube-controller-manager's `--horizontal-pod-autoscaler-cpu-initialization-period` and `-initial-readiness-delay`.
const CPU_INITIALIZATION: Seconds = 300;
const INITIAL_READINESS: Seconds = 30;

#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerances {
    pub up: f64,
    pub down: f64,
}

impl Tolerances {
    fn allow(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// A pod, as the controller observes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodView {
    pub deleting: bool,
    pub pending: bool,
    pub started: Seconds,
    pub ready: bool,
    /// When `ready` last changed.
    pub ready_since: Seconds,
    pub cpu: Cpu,
}

/// Processor time, in thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cpu {
    pub request: i64,
    pub used: Option<Sample>,
}

/// A value of the metrics server: the average over the window that ends at `at`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub value: i64,
    pub at: Seconds,
    pub window: Seconds,
}

#[derive(PartialEq)]
enum Group {
    Ready,
    Unready,
    Missing,
    Ignored,
}

/// `groupPods`, for processor time.
fn group(now: Seconds, pod: &PodView) -> Group {
    if pod.deleting {
        return Group::Ignored;
    }
    if pod.pending {
        return Group::Unready;
    }
    let Some(sample) = pod.cpu.used else {
        return Group::Missing;
    };
    let unready = if pod.started + CPU_INITIALIZATION > now {
        !pod.ready || sample.at < pod.ready_since + sample.window
    } else {
        !pod.ready && pod.started + INITIAL_READINESS > pod.ready_since
    };
    if unready {
        Group::Unready
    } else {
        Group::Ready
    }
}

/// `GetResourceUtilizationRatio`: the utilization is rounded down to a whole percent.
fn ratio(pods: &[(i64, i64)], target_percent: i64) -> Option<f64> {
    let used: i64 = pods.iter().map(|(used, _)| used).sum();
    let requested: i64 = pods.iter().map(|(_, requested)| requested).sum();
    (requested > 0).then(|| (used * 100 / requested) as f64 / target_percent as f64)
}

/// `GetResourceReplicas`; `None` without a value.
pub(super) fn cpu_replicas(
    now: Seconds,
    current: i32,
    target_percent: i64,
    tolerances: Tolerances,
    pods: &[PodView],
) -> Option<i32> {
    let of = |wanted: Group| pods.iter().filter(move |pod| group(now, pod) == wanted);
    let mut counted: Vec<(i64, i64)> = of(Group::Ready)
        .filter_map(|pod| Some((pod.cpu.used?.value, pod.cpu.request)))
        .collect();
    let first = ratio(&counted, target_percent)?;
    let up_with_unready = first > 1.0 && of(Group::Unready).next().is_some();
    if !up_with_unready && of(Group::Missing).next().is_none() {
        return Some(if tolerances.allow(first) {
            current
        } else {
            (first * counted.len() as f64).ceil() as i32
        });
    }
    // A pod without a value counts against the change: as busy when scaling down, as idle when scaling up.
    for pod in of(Group::Missing) {
        if first < 1.0 {
            let fallback = target_percent.max(100);
            counted.push((pod.cpu.request * fallback / 100, pod.cpu.request));
        } else if first > 1.0 {
            counted.push((0, pod.cpu.request));
        }
    }
    if up_with_unready {
        counted.extend(of(Group::Unready).map(|pod| (0, pod.cpu.request)));
    }
    let second = ratio(&counted, target_percent)?;
    let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    if tolerances.allow(second) || turned {
        return Some(current);
    }
    let replicas = (second * counted.len() as f64).ceil() as i32;
    let against = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    Some(if against { current } else { replicas })
}

/// `GetExternalPerPodMetricReplicas`: pods that are not ready count as well.
pub(super) fn per_pod_replicas(
    status_replicas: i32,
    usage: i64,
    target: i64,
    tolerances: Tolerances,
) -> i32 {
    let ratio = usage as f64 / (target as f64 * f64::from(status_replicas));
    if tolerances.allow(ratio) {
        status_replicas
    } else {
        (usage as f64 / target as f64).ceil() as i32
    }
}

/// `GetExternalMetricReplicas`: the ratio multiplied by the number of ready pods.
pub(super) fn value_replicas(
    current: i32,
    usage: i64,
    target: i64,
    tolerances: Tolerances,
    pods: &[PodView],
) -> i32 {
    let ratio = usage as f64 / target as f64;
    let ready = pods.iter().filter(|pod| !pod.pending && pod.ready).count();
    match (current, tolerances.allow(ratio)) {
        (0, _) => ratio.ceil() as i32,
        (_, true) => current,
        _ => (ratio * ready as f64).ceil() as i32,
    }
}
