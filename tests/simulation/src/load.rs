//! A day of arrivals. Loads are given in replicas: 1 is what one pod can process.

use crate::autoscaler::Seconds;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::Serialize;

pub const DAY: Seconds = 86_400;
/// Time that is simulated before the day, so that the day does not begin with starting pods. Not counted.
pub const LEAD: Seconds = 1800;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// 3 replicas, all day.
    Steady,
    /// A sine wave between 0.7 replicas at 4:00 and 7 at 16:00.
    Wave,
    /// 0.8 replicas, and ten times as much from 10:00 to 10:10.
    Burst,
    /// 1 replica, and every 2 to 20 minutes 2 to 5 replicas for 30 seconds to 3 minutes.
    Gusts,
}

impl Load {
    pub const ALL: [Self; 4] = [Self::Steady, Self::Wave, Self::Burst, Self::Gusts];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Wave => "wave",
            Self::Burst => "burst",
            Self::Gusts => "gusts",
        }
    }

    pub const fn about(self) -> &'static str {
        match self {
            Self::Steady => "three replicas' worth all day",
            Self::Wave => "0.7 replicas' worth at 4:00, 7 at 16:00",
            Self::Burst => "0.8 replicas' worth, tenfold from 10:00 to 10:10",
            Self::Gusts => {
                "one replica's worth, and every 2 to 20 minutes two to five for 30 to 180 s"
            }
        }
    }

    /// Mean arrivals in each second from `-LEAD` on, in replicas.
    fn means(self, until: Seconds) -> Vec<f64> {
        let seconds = -LEAD..until;
        match self {
            Self::Steady => seconds.map(|_| 3.0).collect(),
            Self::Wave => seconds
                .map(|second| {
                    let turn = (second - 4 * 3600) as f64 / DAY as f64 * std::f64::consts::TAU;
                    0.7 + (7.0 - 0.7) * (1.0 - turn.cos()) / 2.0
                })
                .collect(),
            Self::Burst => seconds
                .map(|second| {
                    if (36_000..36_600).contains(&second) {
                        8.0
                    } else {
                        0.8
                    }
                })
                .collect(),
            Self::Gusts => gusts(seconds.count()),
        }
    }

    /// The part of the day that a drawing shows.
    pub const fn span(self) -> (Seconds, Seconds) {
        match self {
            Self::Steady | Self::Wave => (0, DAY),
            Self::Burst => (35_400, 39_600),
            Self::Gusts => (36_000, 43_200),
        }
    }
}

/// Images that arrive, by second and partition, from `-LEAD` on.
#[derive(Debug, Clone)]
pub struct Arrivals {
    pub load: Load,
    /// Images a second that one replica can process.
    pub rate: f64,
    means: Vec<f64>,
    counts: Vec<u16>,
    partitions: usize,
}

impl Arrivals {
    /// Draws arrivals from a Poisson distribution, the same on every machine. All partitions are equally likely.
    pub fn draw(load: Load, rate: f64, partitions: usize, until: Seconds) -> Self {
        let mut random = SmallRng::seed_from_u64(load as u64);
        let means = load.means(until);
        let mut counts = Vec::with_capacity(means.len() * partitions);
        for mean in &means {
            let one = Poisson::of(mean * rate / partitions as f64);
            counts.extend((0..partitions).map(|_| one.draw(&mut random)));
        }
        Self {
            load,
            rate,
            means,
            counts,
            partitions,
        }
    }

    /// The mean load in replicas. Before and after the day it is the load of its start or end.
    pub fn mean(&self, second: Seconds) -> f64 {
        let last = self.means.len() as Seconds - 1;
        self.means[(second + LEAD).clamp(0, last) as usize]
    }

    pub fn at(&self, second: Seconds) -> &[u16] {
        let start = (second + LEAD) as usize * self.partitions;
        &self.counts[start..start + self.partitions]
    }

    pub fn until(&self) -> Seconds {
        (self.counts.len() / self.partitions) as Seconds - LEAD
    }
}

fn gusts(seconds: usize) -> Vec<f64> {
    let mut random = SmallRng::seed_from_u64(20);
    let mut means = Vec::new();
    while means.len() < seconds {
        means.extend(std::iter::repeat_n(1.0, random.random_range(120..=1200)));
        let height = random.random_range(2.0..=5.0);
        means.extend(std::iter::repeat_n(height, random.random_range(30..=180)));
    }
    means.truncate(seconds);
    means
}

struct Poisson {
    mean: f64,
    limit: f64,
}

impl Poisson {
    fn of(mean: f64) -> Self {
        let limit = (-mean).exp();
        Self { mean, limit }
    }

    /// Knuth's algorithm for small means, the normal distribution for large ones.
    fn draw(&self, random: &mut SmallRng) -> u16 {
        if self.mean > 40.0 {
            let (first, second): (f64, f64) = (random.random(), random.random());
            let normal =
                (-2.0 * (1.0 - first).ln()).sqrt() * (std::f64::consts::TAU * second).cos();
            return (self.mean + self.mean.sqrt() * normal).round().max(0.0) as u16;
        }
        let mut product: f64 = random.random();
        let mut count = 0;
        while product > self.limit {
            product *= random.random::<f64>();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_ten_times_the_load_for_ten_minutes() {
        let means = Load::Burst.means(DAY);
        let (low, high): (Vec<f64>, Vec<f64>) = means.iter().partition(|&&mean| mean < 1.0);
        assert_eq!(high.len(), 600);
        assert!((high[0] / low[0] - 10.0).abs() < 1e-9);
    }

    #[test]
    fn draws_have_mean_and_variance_of_poissons_distribution() {
        let mut random = SmallRng::seed_from_u64(1);
        for mean in [0.5, 8.0, 39.0, 41.0, 200.0] {
            let draws: Vec<f64> = (0..20_000)
                .map(|_| f64::from(Poisson::of(mean).draw(&mut random)))
                .collect();
            let average = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws
                .iter()
                .map(|draw| (draw - average).powi(2))
                .sum::<f64>()
                / 20_000.0;
            assert!((average / mean - 1.0).abs() < 0.03, "{average} for {mean}");
            assert!(
                (variance / mean - 1.0).abs() < 0.06,
                "{variance} for {mean}"
            );
        }
    }

    #[test]
    fn each_second_has_its_own_arrivals() {
        let arrivals = Arrivals::draw(Load::Burst, 34.0, 12, 37_000);
        let images = |from, to| {
            (from..to)
                .flat_map(|at| arrivals.at(at))
                .map(|&count| f64::from(count))
                .sum::<f64>()
        };
        let (before, during) = (images(35_400, 36_000), images(36_000, 36_600));
        assert!(
            (9.5..10.5).contains(&(during / before)),
            "{before} {during}"
        );
        assert_eq!(arrivals.until(), 37_000);
    }
}
