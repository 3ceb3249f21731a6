//! Simulates the pods of infer and the partitions that they read, in steps of a second.
//!
//! The number of images is a real number. An image can be processed in the second of its arrival, and then its wait counts
//! as 0.

use crate::{
    autoscaler::{Cpu, PodView, Sample, Seconds},
    world::World,
};
use std::collections::{BTreeMap, VecDeque};

/// `sightline_drain_seconds` halves the weight of a rate after this many seconds of work (shared/stream, `backlog.rs`).
const PACE_HALF_LIFE: f64 = 30.0;
/// The interval of librdkafka's statistics, with which it is computed.
const STATISTICS: Seconds = 5;
/// Thousandths of a core that an idle pod uses.
const IDLE_CPU: f64 = 10.0;

#[derive(Debug, Default)]
struct Partition {
    /// When images arrived, and how many of them still wait; oldest first.
    queue: VecDeque<(Seconds, f64)>,
    lag: f64,
    owner: Option<u64>,
    /// Not read until then, because it is being reassigned.
    paused: Seconds,
}

#[derive(Debug)]
pub struct Pod {
    pub id: u64,
    ordinal: i32,
    created: Seconds,
    running: Seconds,
    joins: Seconds,
    deleted: Option<Deleted>,
    /// Its partitions.
    own: Vec<usize>,
    /// Seconds that the model has computed.
    pub model_seconds: f64,
    /// The pod's `sightline_drain_seconds`.
    pub drain: f64,
    cpu: f64,
    cpu_seen: Option<(Seconds, f64)>,
    sample: Option<Sample>,
    pace: Pace,
}

#[derive(Debug)]
struct Deleted {
    /// Images that it has taken and still processes.
    rest: f64,
    leaves: Seconds,
}

#[derive(Debug, Default)]
struct Pace {
    done: f64,
    busy: f64,
}

impl Pace {
    fn worked(&mut self, done: f64, busy: f64) {
        let fade = 0.5_f64.powf(busy / PACE_HALF_LIFE);
        self.done = self.done * fade + done;
        self.busy = self.busy * fade + busy;
    }

    fn per_second(&self) -> f64 {
        if self.busy > 0.0 {
            self.done / self.busy
        } else {
            1.0
        }
    }
}

#[derive(Debug)]
pub struct Cluster {
    world: World,
    pods: Vec<Pod>,
    partitions: Vec<Partition>,
    replicas: i32,
    next_id: u64,
}

/// The images that were processed in a second: their wait in seconds, and their number.
pub type Done = Vec<(Seconds, f64)>;

impl Cluster {
    /// A cluster whose pods have run for a long time.
    pub fn new(world: World, replicas: i32, now: Seconds) -> Self {
        let mut cluster = Self {
            partitions: (0..world.partitions)
                .map(|_| Partition::default())
                .collect(),
            world,
            pods: Vec::new(),
            replicas,
            next_id: 0,
        };
        cluster.reconcile(now - 3600);
        let members = cluster.members(now);
        cluster.assign(&members, now - 3600);
        cluster
    }

    pub fn scale(&mut self, replicas: i32) {
        self.replicas = replicas;
    }

    pub fn replicas(&self) -> i32 {
        self.replicas
    }

    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    pub fn lag(&self) -> f64 {
        self.partitions.iter().map(|partition| partition.lag).sum()
    }

    /// How long the oldest image has waited.
    pub fn age(&self, now: Seconds) -> Seconds {
        let oldest = self
            .partitions
            .iter()
            .filter_map(|partition| partition.queue.front());
        oldest.map(|(came, _)| now - came).max().unwrap_or(0)
    }

    pub fn step(&mut self, now: Seconds, arrivals: &[u16]) -> Done {
        let before = self.members(now - 1);
        self.reconcile(now);
        let members = self.members(now);
        if members != before {
            self.assign(&members, now);
        }
        for (partition, &count) in self.partitions.iter_mut().zip(arrivals) {
            if count > 0 {
                partition.queue.push_back((now, f64::from(count)));
                partition.lag += f64::from(count);
            }
        }
        let mut done = Done::new();
        for index in 0..self.pods.len() {
            self.work(index, now, &mut done);
        }
        done
    }

    /// The StatefulSet's controller and the kubelet: starts and ends pods. A name can be used again when its pod has ended.
    fn reconcile(&mut self, now: Seconds) {
        let gone = |pod: &Pod| {
            pod.deleted
                .as_ref()
                .is_some_and(|deleted| deleted.leaves < now)
        };
        self.pods.retain(|pod| !gone(pod));
        for ordinal in 0..self.replicas {
            if !self.pods.iter().any(|pod| pod.ordinal == ordinal) {
                let running = now + self.world.scheduling;
                self.pods.push(Pod {
                    id: self.next_id,
                    ordinal,
                    created: now,
                    running,
                    joins: running + self.world.start,
                    deleted: None,
                    own: Vec::new(),
                    model_seconds: 0.0,
                    drain: 0.0,
                    cpu: 0.0,
                    cpu_seen: None,
                    sample: None,
                    pace: Pace::default(),
                });
                self.next_id += 1;
            }
        }
        for pod in &mut self.pods {
            if pod.ordinal >= self.replicas && pod.deleted.is_none() {
                let lag: f64 = pod
                    .own
                    .iter()
                    .map(|&index| self.partitions[index].lag)
                    .sum();
                let rest = lag.min(self.world.in_flight);
                let needed = (rest / self.world.rate).ceil() as Seconds;
                pod.deleted = Some(Deleted {
                    rest,
                    leaves: now + needed.clamp(1, self.world.drain_timeout),
                });
            }
        }
    }

    /// The members of the consumer group.
    fn members(&self, now: Seconds) -> Vec<u64> {
        let stays = |pod: &Pod| {
            pod.deleted
                .as_ref()
                .is_none_or(|deleted| now < deleted.leaves)
        };
        let members = self
            .pods
            .iter()
            .filter(|pod| pod.joins <= now && stays(pod));
        members.map(|pod| pod.id).collect()
    }

    /// The cooperative-sticky assignment: as few partitions as possible move, and only those pause.
    fn assign(&mut self, members: &[u64], now: Seconds) {
        self.balance(members, now);
        for pod in &mut self.pods {
            let own = self.partitions.iter().enumerate();
            let own = own.filter(|(_, partition)| partition.owner == Some(pod.id));
            pod.own = own.map(|(index, _)| index).collect();
        }
    }

    fn balance(&mut self, members: &[u64], now: Seconds) {
        let mut shares: BTreeMap<u64, Vec<usize>> =
            members.iter().map(|&id| (id, Vec::new())).collect();
        let mut free = Vec::new();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            match partition.owner.and_then(|owner| shares.get_mut(&owner)) {
                Some(share) => share.push(index),
                None => {
                    partition.owner = None;
                    free.push(index);
                }
            }
        }
        loop {
            let sizes = || shares.iter().map(|(&id, share)| (share.len(), id));
            let (Some((least, to)), Some((most, from))) = (
                sizes().min(),
                sizes().max_by_key(|&(size, id)| (size, u64::MAX - id)),
            ) else {
                return;
            };
            let taken = match free.pop() {
                Some(index) => Some(index),
                None if most > least + 1 => shares.get_mut(&from).and_then(Vec::pop),
                None => return,
            };
            if let (Some(index), Some(share)) = (taken, shares.get_mut(&to)) {
                share.push(index);
                self.partitions[index].owner = Some(to);
                self.partitions[index].paused = now + self.world.rebalance;
            }
        }
    }

    /// Simulates one second of one pod.
    fn work(&mut self, index: usize, now: Seconds, done: &mut Done) {
        let (pod, partitions) = (&mut self.pods[index], &mut self.partitions);
        if pod.running <= now {
            pod.cpu += IDLE_CPU;
        }
        let open = |partition: &Partition| partition.paused <= now && partition.lag > 0.0;
        let own = || pod.own.iter().copied();
        let waiting: f64 = own()
            .filter(|&index| open(&partitions[index]))
            .map(|index| partitions[index].lag)
            .sum();
        let most = pod
            .deleted
            .as_ref()
            .map_or(f64::INFINITY, |deleted| deleted.rest);
        let served = waiting.min(self.world.rate).min(most);
        if served > 0.0 {
            let mut open: Vec<usize> = own().filter(|&index| open(&partitions[index])).collect();
            // Each partition gets an equal share. What one partition does not need goes to the others.
            if served < waiting {
                open.sort_unstable_by(|&first, &second| {
                    partitions[first].lag.total_cmp(&partitions[second].lag)
                });
            }
            let mut left = served;
            for (taken, index) in open.iter().copied().enumerate() {
                let part = if served < waiting {
                    (left / (open.len() - taken) as f64).min(partitions[index].lag)
                } else {
                    partitions[index].lag
                };
                partitions[index].take(part, now, done);
                left -= part;
            }
            // Single images take longer than batches, and batches form only if images wait.
            let busy = if waiting < self.world.rate {
                (served / self.world.alone).min(1.0)
            } else {
                served / self.world.rate
            };
            pod.pace.worked(served, busy);
            pod.model_seconds += busy;
            pod.cpu += busy * self.world.busy_cpu;
            if let Some(deleted) = &mut pod.deleted {
                deleted.rest -= served;
            }
        }
        if (now + Seconds::from(pod.ordinal)) % STATISTICS == 0 {
            let lag: f64 = pod.own.iter().map(|&index| partitions[index].lag).sum();
            pod.drain = lag / pod.pace.per_second();
        }
    }

    /// The metrics server's measurement: processor time since the last one.
    pub fn measure_cpu(&mut self, now: Seconds) {
        for pod in self.pods.iter_mut().filter(|pod| pod.running <= now) {
            if let Some((then, cpu)) = pod.cpu_seen.replace((now, pod.cpu)) {
                let window = now - then;
                let value = ((pod.cpu - cpu) / window as f64) as i64;
                pod.sample = Some(Sample {
                    value,
                    at: now,
                    window,
                });
            }
        }
    }

    pub fn views(&self, now: Seconds) -> Vec<PodView> {
        let views = self.pods.iter().map(|pod| {
            // The probe asks once a period.
            let period = self.world.readiness_period;
            let ready_since = pod.joins + (pod.running - pod.joins).rem_euclid(period);
            let ready = ready_since <= now;
            PodView {
                deleting: pod.deleted.is_some(),
                pending: pod.running > now,
                started: pod.created,
                ready,
                ready_since: if ready { ready_since } else { pod.created },
                cpu: Cpu {
                    request: self.world.cpu_request,
                    used: pod.sample,
                },
            }
        });
        views.collect()
    }

    /// Pods that answer Prometheus.
    pub fn scraped(&self, now: Seconds) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| pod.running <= now)
    }
}

impl Partition {
    fn take(&mut self, mut images: f64, now: Seconds, done: &mut Done) {
        self.lag -= images;
        while images > 0.0 {
            let Some((came, count)) = self.queue.front_mut() else {
                self.lag = 0.0;
                return;
            };
            let part = count.min(images);
            match done.last_mut() {
                Some((wait, all)) if *wait == now - *came => *all += part,
                _ => done.push((now - *came, part)),
            }
            images -= part;
            *count -= part;
            if *count <= 1e-9 {
                self.queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(replicas: i32) -> Cluster {
        Cluster::new(World::of_tests(), replicas, 0)
    }

    fn done(done: &Done) -> f64 {
        done.iter().map(|(_, images)| images).sum()
    }

    fn shares(cluster: &Cluster) -> Vec<usize> {
        let owners = cluster
            .partitions
            .iter()
            .filter_map(|partition| partition.owner);
        let mut shares = BTreeMap::new();
        owners.for_each(|owner| *shares.entry(owner).or_insert(0) += 1);
        let mut sizes: Vec<_> = shares.into_values().collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn images_are_processed_once_and_in_order() {
        let mut cluster = cluster(2);
        let mut total = 0.0;
        let mut waited = 0;
        for second in 0..100 {
            let arrivals = [if second < 40 { 10 } else { 0 }; 12];
            let now = cluster.step(second, &arrivals);
            total += done(&now);
            waited = now.iter().map(|(wait, _)| *wait).fold(waited, Seconds::max);
        }
        assert!((total - 40.0 * 120.0).abs() < 1e-6, "{total}");
        assert!(cluster.lag().abs() < 1e-6);
        // The backlog grows by 20 a second for 40 seconds, then 100 a second are processed: the last image waits 8 s.
        assert!((7..=9).contains(&waited), "{waited}");
    }

    /// With 12 partitions, four of 8 pods have two partitions, so 8 pods are no faster than 6.
    #[test]
    fn the_pod_with_most_partitions_limits_the_rate() {
        for (replicas, keeps_up) in [(6, 300), (8, 300), (12, 600)] {
            let mut cluster = cluster(replicas);
            for second in 0..200 {
                cluster.step(second, &[(keeps_up / 12) as u16; 12]);
            }
            assert!(cluster.lag() < 1.0, "{replicas}: {}", cluster.lag());
            for second in 200..400 {
                cluster.step(second, &[(keeps_up / 12 + 1) as u16; 12]);
            }
            assert!(cluster.lag() > 100.0, "{replicas}: {}", cluster.lag());
        }
    }

    #[test]
    fn a_pod_joins_after_its_start_and_only_partitions_that_move_pause() {
        let mut cluster = cluster(2);
        let start = cluster.world.scheduling + cluster.world.start;
        cluster.scale(3);
        for second in 0..start {
            cluster.step(second, &[0; 12]);
        }
        assert_eq!(shares(&cluster), [6, 6]);
        cluster.step(start, &[1; 12]);
        assert_eq!(shares(&cluster), [4, 4, 4]);
        assert_eq!(cluster.lag(), 4.0);
        for second in start + 1..start + 10 {
            cluster.step(second, &[1; 12]);
        }
        assert_eq!(cluster.lag(), 0.0);
    }

    #[test]
    fn a_terminating_pod_finishes_what_it_took() {
        let mut cluster = cluster(3);
        cluster.step(0, &[100; 12]);
        cluster.scale(2);
        let mut last = 0;
        for second in 1..60 {
            cluster.step(second, &[0; 12]);
            if cluster.pods.len() == 3 {
                last = second;
            }
        }
        // 350 wait for it, 100 are in flight: two seconds.
        assert_eq!(last, 3);
        assert_eq!(shares(&cluster), [6, 6]);
    }

    #[test]
    fn a_name_is_free_when_its_pod_has_ended() {
        let mut cluster = cluster(2);
        cluster.step(0, &[100; 12]);
        cluster.scale(1);
        cluster.step(1, &[0; 12]);
        cluster.scale(2);
        cluster.step(2, &[0; 12]);
        assert_eq!(cluster.pods.len(), 2);
        let deleted = cluster
            .pods
            .iter()
            .filter(|pod| pod.deleted.is_some())
            .count();
        assert_eq!(deleted, 1);
        (3..30).for_each(|second| drop(cluster.step(second, &[0; 12])));
        assert_eq!(shares(&cluster), [6, 6]);
    }

    #[test]
    fn drain_seconds_are_those_of_one_pod() {
        let mut cluster = cluster(2);
        for second in 0..30 {
            cluster.step(second, &[20; 12]);
        }
        let total: f64 = cluster.pods().iter().map(|pod| pod.drain).sum();
        let lag = cluster.lag();
        assert!(
            (total - lag / 50.0).abs() / total < 0.25,
            "{total} for {lag}"
        );
    }
}
