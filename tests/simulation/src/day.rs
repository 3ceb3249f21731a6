//! Simulates one day of one autoscaler under one load.

use crate::{
    autoscaler::{Autoscaler, SYNC_PERIOD, Seconds, Seen},
    cluster::Cluster,
    load::{Arrivals, LEAD},
    manifests::Setting,
    signals::{Prometheus, answer},
    world::World,
};
use serde::Serialize;

/// An image that waits longer than this is late.
pub const LATE: Seconds = 60;
/// The metrics server's `--metric-resolution`.
const CPU_RESOLUTION: Seconds = 15;
/// When in the sync period Prometheus and the metrics server measure: neither just before the autoscaler nor just after it.
const SCRAPE_PHASE: Seconds = 4;
const CPU_PHASE: Seconds = 9;
/// The time between two moments of a drawing.
pub const POINT: Seconds = 5;

/// The state at one moment of the day, for drawings.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub at: Seconds,
    /// Mean number of images that arrive in a second.
    pub load: f64,
    pub pods: f64,
    pub oracle: f64,
    pub lag: f64,
    pub pod_hours: f64,
    pub oracle_hours: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The most images that waited at once.
    pub max_lag: f64,
    pub wait_p50: Seconds,
    pub wait_p99: Seconds,
    pub wait_max: Seconds,
    /// Share of images that waited longer than [`LATE`], from 0 to 1.
    pub late: f64,
    pub replica_hours: f64,
    /// Replica hours divided by those of an oracle. For each minute the oracle has the fewest replicas, but at least two, that
    /// can process what arrives.
    pub cost: f64,
    /// How often the number of replicas changed.
    pub changes: usize,
    /// How often it changed in the opposite direction of the last change.
    pub turns: usize,
    pub max_replicas: i32,
    #[serde(skip)]
    pub moments: Vec<Moment>,
}

pub fn simulate(setting: &Setting, world: World, arrivals: &Arrivals) -> Outcome {
    let spec = &setting.spec;
    let start =
        ((arrivals.mean(-LEAD) * 1.3).ceil() as i32).clamp(spec.min_replicas, spec.max_replicas);
    let mut cluster = Cluster::new(world, start, -LEAD);
    let mut autoscaler = Autoscaler::new(spec.clone());
    let mut prometheus = Prometheus::default();
    let mut tally = Tally::new(spec.min_replicas);
    for now in -LEAD..arrivals.until() {
        let done = cluster.step(now, arrivals.at(now));
        if (now - SCRAPE_PHASE) % world.scrape == 0 {
            prometheus.scrape(now, &cluster);
        }
        if (now - CPU_PHASE) % CPU_RESOLUTION == 0 {
            cluster.measure_cpu(now);
        }
        let before = cluster.replicas();
        if now % SYNC_PERIOD == 0 {
            let external: Vec<_> = setting
                .signals
                .iter()
                .map(|signal| answer(signal, now, &world, &prometheus, &cluster))
                .collect();
            let replicas = autoscaler.sync(
                now,
                Seen {
                    spec_replicas: before,
                    status_replicas: cluster.pods().len() as i32,
                    pods: &cluster.views(now),
                    external: &external,
                },
            );
            cluster.scale(replicas);
        }
        if now >= 0 {
            tally.second(now, arrivals, &cluster, done, before);
        }
    }
    tally.outcome()
}

struct Tally {
    min: i32,
    waits: Vec<f64>,
    max_lag: f64,
    pod_seconds: f64,
    oracle_seconds: f64,
    oracle: f64,
    changes: Vec<i32>,
    max_replicas: i32,
    moments: Vec<Moment>,
    /// The largest lag since the last moment.
    peak: f64,
}

impl Tally {
    fn new(min: i32) -> Self {
        Self {
            min: min.min(2),
            waits: Vec::new(),
            max_lag: 0.0,
            pod_seconds: 0.0,
            oracle_seconds: 0.0,
            oracle: 0.0,
            changes: Vec::new(),
            max_replicas: 0,
            moments: Vec::new(),
            peak: 0.0,
        }
    }

    fn second(
        &mut self,
        now: Seconds,
        arrivals: &Arrivals,
        cluster: &Cluster,
        done: crate::cluster::Done,
        before: i32,
    ) {
        for (wait, images) in done {
            let wait = wait as usize;
            if self.waits.len() <= wait {
                self.waits.resize(wait + 1, 0.0);
            }
            self.waits[wait] += images;
        }
        if now % 60 == 0 {
            let busiest = (now..now + 60)
                .map(|second| arrivals.mean(second))
                .fold(0.0, f64::max);
            self.oracle = busiest.ceil().max(f64::from(self.min));
        }
        let pods = cluster.pods().len() as f64;
        self.pod_seconds += pods;
        self.oracle_seconds += self.oracle;
        self.max_lag = self.max_lag.max(cluster.lag());
        self.peak = self.peak.max(cluster.lag());
        self.max_replicas = self.max_replicas.max(cluster.replicas());
        if cluster.replicas() != before {
            self.changes.push(cluster.replicas() - before);
        }
        if now % POINT == 0 {
            self.moments.push(Moment {
                at: now,
                load: arrivals.mean(now) * arrivals.rate,
                pods,
                oracle: self.oracle,
                lag: std::mem::take(&mut self.peak),
                pod_hours: self.pod_seconds / 3600.0,
                oracle_hours: self.oracle_seconds / 3600.0,
            });
        }
    }

    fn outcome(self) -> Outcome {
        let total: f64 = self.waits.iter().sum();
        let percentile = |share: f64| {
            let mut sum = 0.0;
            let reached = |images: &f64| {
                sum += images;
                sum >= total * share
            };
            self.waits.iter().position(reached).unwrap_or(0) as Seconds
        };
        let late = self
            .waits
            .iter()
            .skip(LATE as usize + 1)
            .fold(0.0, |sum, images| sum + images);
        let turned = |pair: &&[i32]| pair[0].signum() != pair[1].signum();
        Outcome {
            max_lag: self.max_lag,
            wait_p50: percentile(0.5),
            wait_p99: percentile(0.99),
            wait_max: self.waits.len().saturating_sub(1) as Seconds,
            late: late / total,
            replica_hours: self.pod_seconds / 3600.0,
            cost: self.pod_seconds / self.oracle_seconds,
            changes: self.changes.len(),
            turns: self.changes.windows(2).filter(turned).count(),
            max_replicas: self.max_replicas,
            moments: self.moments,
        }
    }
}
