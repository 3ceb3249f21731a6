//! The metrics that KEDA gives to the autoscaler: Prometheus' values, as old as its last scrape, and Kafka's lag.

use crate::{autoscaler::Seconds, cluster::Cluster, world::World};
use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, VecDeque};

/// The metric of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// `sum(clamp_max(sightline_drain_seconds, ceiling))`: the seconds that one instance would need for the whole backlog.
    DrainSum { ceiling: f64 },
    /// `max(sightline_drain_seconds)`: the seconds that the slowest instance needs for its backlog.
    DrainMax,
    /// `sum(rate(sightline_infer_model_seconds_sum[window]))`: how many models are computing.
    Busy { window: Seconds },
    /// The `kafka` scaler's total lag.
    Lag { threshold: f64 },
}

impl Signal {
    /// Parses the query of a `prometheus` trigger. A query that the simulation does not know is an error.
    pub fn of_query(query: &str) -> anyhow::Result<Self> {
        let text: String = query.split_whitespace().collect();
        let unknown = || format!("the simulation does not know the query {query:?}");
        let (name, rest) = text.split_once('{').with_context(unknown)?;
        let (labels, rest) = rest.split_once('}').with_context(unknown)?;
        let stage = labels
            .split(',')
            .find_map(|label| label.strip_prefix("stage="));
        ensure!(
            stage.is_none_or(|stage| stage == "\"infer\""),
            "{}",
            unknown()
        );
        let number = |text: &str| text.parse().with_context(unknown);
        match name {
            "sum(clamp_max(sightline_drain_seconds" => {
                let ceiling = rest
                    .strip_prefix(',')
                    .and_then(|rest| rest.strip_suffix("))"));
                let ceiling = number(ceiling.with_context(unknown)?)?;
                Ok(Self::DrainSum { ceiling })
            }
            "sum(sightline_drain_seconds" if rest == ")" => Ok(Self::DrainSum {
                ceiling: f64::INFINITY,
            }),
            "max(sightline_drain_seconds" if rest == ")" => Ok(Self::DrainMax),
            "sum(rate(sightline_infer_model_seconds_sum" => {
                let window = rest
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix("]))"));
                let window = seconds(window.with_context(unknown)?)?;
                Ok(Self::Busy { window })
            }
            _ => bail!(unknown()),
        }
    }
}

/// Parses a duration such as `15s` or `2m`.
pub fn seconds(text: &str) -> anyhow::Result<Seconds> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let found = units
        .iter()
        .find_map(|(unit, length)| Some((text.strip_suffix(*unit)?, *length)));
    let (number, unit) = found.with_context(|| format!("{text:?} is no duration"))?;
    let number: Seconds = number
        .parse()
        .with_context(|| format!("{text:?} is no duration"))?;
    Ok(number * unit)
}

/// The samples of each pod that a window can include.
#[derive(Debug, Default)]
pub struct Prometheus {
    model_seconds: BTreeMap<u64, VecDeque<(Seconds, f64)>>,
    /// The values of the last scrape. A pod that has ended has none.
    drain: Vec<f64>,
}

const KEPT: Seconds = 600;

impl Prometheus {
    pub fn scrape(&mut self, now: Seconds, cluster: &Cluster) {
        self.drain = cluster.scraped(now).map(|pod| pod.drain).collect();
        for pod in cluster.scraped(now) {
            let samples = self.model_seconds.entry(pod.id).or_default();
            samples.push_back((now, pod.model_seconds));
        }
        for samples in self.model_seconds.values_mut() {
            while samples.front().is_some_and(|(at, _)| *at <= now - KEPT) {
                samples.pop_front();
            }
        }
        self.model_seconds.retain(|_, samples| !samples.is_empty());
    }

    fn busy(&self, now: Seconds, window: Seconds) -> f64 {
        let series = self.model_seconds.values();
        series
            .filter_map(|samples| rate(samples, now, window))
            .sum()
    }
}

/// Prometheus' `rate` of a counter that never resets (`extrapolatedRate` of promql/functions.go).
fn rate(samples: &VecDeque<(Seconds, f64)>, now: Seconds, window: Seconds) -> Option<f64> {
    let mut inside = samples
        .iter()
        .filter(|(at, _)| *at > now - window && *at <= now);
    let (first, first_value) = *inside.next()?;
    let (intervals, (last, last_value)) = inside
        .fold((0, (first, first_value)), |(count, _), &sample| {
            (count + 1, sample)
        });
    if intervals == 0 {
        return None;
    }
    let grown = last_value - first_value;
    let covered = (last - first) as f64;
    let mean = covered / f64::from(intervals);
    let edge = |distance: f64| {
        if distance >= mean * 1.1 {
            mean / 2.0
        } else {
            distance
        }
    };
    let mut start = edge((first - (now - window)) as f64);
    if grown > 0.0 {
        // A counter does not start below zero.
        start = start.min(covered * first_value / grown);
    }
    let end = edge((now - last) as f64);
    Some(grown * (covered + start + end) / covered / window as f64)
}

/// The metric's value in thousandths, rounded down as KEDA does.
pub fn answer(
    signal: &Signal,
    now: Seconds,
    world: &World,
    prometheus: &Prometheus,
    cluster: &Cluster,
) -> Option<i64> {
    let value = match signal {
        Signal::DrainSum { ceiling } => prometheus
            .drain
            .iter()
            .map(|drain| drain.min(*ceiling))
            .sum(),
        Signal::DrainMax => prometheus.drain.iter().copied().fold(0.0, f64::max),
        Signal::Busy { window } => prometheus.busy(now, *window),
        Signal::Lag { threshold } => {
            // KEDA asks for at most one replica a partition (`getTotalLag`).
            let lag = (cluster.lag() * (1.0 + world.markers)).floor();
            if (lag / threshold).floor() > world.partitions as f64 {
                threshold * world.partitions as f64
            } else {
                lag
            }
        }
    };
    Some((value * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parsed() {
        let of = |query: &str| Signal::of_query(query).ok();
        let drain =
            "sum(clamp_max(sightline_drain_seconds{stage=\"infer\", namespace=\"sightline\"}, 60))";
        assert_eq!(of(drain), Some(Signal::DrainSum { ceiling: 60.0 }));
        assert_eq!(of("max(sightline_drain_seconds{})"), Some(Signal::DrainMax));
        let busy = "sum(rate(sightline_infer_model_seconds_sum{namespace=\"sightline\"}[2m]))";
        assert_eq!(of(busy), Some(Signal::Busy { window: 120 }));
        for query in [
            "sum(clamp_max(sightline_drain_seconds{stage=\"preprocess\"}, 60))",
            "avg(sightline_drain_seconds{})",
            "sum(sightline_lag_records{})",
            "sum(rate(sightline_infer_model_seconds_sum{}[2m])) * 2",
        ] {
            assert_eq!(of(query), None, "{query}");
        }
    }

    #[test]
    fn rate_extrapolates_to_the_edges_of_its_window() {
        let every = |step: usize, from: Seconds, to: Seconds| -> VecDeque<(Seconds, f64)> {
            (from..=to)
                .step_by(step)
                .map(|at| (at, (at - from) as f64 * 0.5))
                .collect()
        };
        let close = |found: Option<f64>, expected: f64| {
            let found = found.unwrap_or(f64::NAN);
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        };
        // A pod that runs for the whole window: exact, whenever it was scraped.
        close(rate(&every(15, 0, 600), 607, 120), 0.5);
        // A pod that started a minute ago counts for its part of the window.
        close(rate(&every(15, 547, 607), 607, 120), 0.25);
        // A pod that ended a minute ago.
        close(
            rate(&every(15, 0, 540), 600, 120),
            0.5 * (45.0 + 15.0 + 7.5) / 120.0,
        );
        assert_eq!(rate(&every(15, 600, 600), 607, 120), None);
    }

    #[test]
    fn durations() {
        assert_eq!(
            (seconds("15s").ok(), seconds("2m").ok(), seconds("1h").ok()),
            (Some(15), Some(120), Some(3600))
        );
        assert!(seconds("soon").is_err() && seconds("ms").is_err());
    }
}
