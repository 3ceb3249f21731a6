//! The parameters of the simulation: how fast a pod is, and how long steps take.

use crate::autoscaler::Seconds;

#[derive(Debug, Clone, Copy)]
pub struct World {
    pub partitions: usize,
    /// Images a second that a pod with a backlog processes.
    pub rate: f64,
    /// Images a second that a pod processes one at a time.
    pub alone: f64,
    /// Thousandths of a core that a pod uses while its model computes.
    pub busy_cpu: f64,
    /// Thousandths of a core that a pod requests.
    pub cpu_request: i64,
    /// The most images that a pod has taken and not committed.
    pub in_flight: f64,
    /// Time from the creation of a pod to the start of its process.
    pub scheduling: Seconds,
    /// Time from the start of the process to its first partition.
    pub start: Seconds,
    pub readiness_period: Seconds,
    pub drain_timeout: Seconds,
    /// How long a partition pauses that moves to another pod.
    pub rebalance: Seconds,
    /// Prometheus' scrape interval.
    pub scrape: Seconds,
    /// Transaction markers for each image; Kafka's lag counts them.
    pub markers: f64,
}

impl World {
    #[cfg(test)]
    pub fn of_tests() -> Self {
        Self {
            partitions: 12,
            rate: 50.0,
            alone: 50.0,
            busy_cpu: 2000.0,
            cpu_request: 2000,
            in_flight: 100.0,
            scheduling: 10,
            start: 5,
            readiness_period: 5,
            drain_timeout: 20,
            rebalance: 3,
            scrape: 15,
            markers: 1.0,
        }
    }
}
