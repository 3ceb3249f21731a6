//! What surrounds the autoscaler: how fast a pod is, and how long things take.

use crate::autoscaler::Seconds;

#[derive(Debug, Clone, Copy)]
pub struct World {
    pub partitions: usize,
    /// Images a second of a pod with a backlog.
    pub rate: f64,
    /// Images a second, one at a time.
    pub alone: f64,
    /// Thousandths of a core: what a pod takes while the model computes, and what it asks for.
    pub busy_cpu: f64,
    pub cpu_request: i64,
    /// Images that a pod has taken and not committed, at most.
    pub in_flight: f64,
    /// From the creation of a pod to its process.
    pub scheduling: Seconds,
    /// From there to the first partition.
    pub start: Seconds,
    pub readiness_period: Seconds,
    pub drain_timeout: Seconds,
    /// How long a partition that changes hands stands still.
    pub rebalance: Seconds,
    /// Prometheus asks so often.
    pub scrape: Seconds,
    /// Kafka's lag counts transactions' markers; so many an image.
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
