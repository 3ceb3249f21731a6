//! Consumer lag in records, the age of the oldest record, and the time to work the lag off: for gauges and the
//! autoscaler. The loop makes no decision by them.
//!
//! The lag in offsets is more than that in records: each transaction leaves a marker, and aborted records stay in the
//! log. Fetched records are counted exactly. Those not yet fetched are estimated by how many of the last fetched
//! offsets were records.

use crate::machine::Place;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// The working time after which a measured rate counts half.
const HALF_LIFE: Duration = Duration::from_secs(30);

/// What librdkafka's statistics say of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The offset that is fetched next.
    pub next_offset: i64,
    /// The last stable offset: where a read-committed reader's log ends.
    pub end: i64,
    /// Records fetched since the start; markers do not count.
    pub received: u64,
    /// Records fetched and not yet taken.
    pub queued: usize,
}

/// The values of the gauges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// Records not committed, by partition.
    pub lag: Vec<(i32, i64)>,
    /// The age of the oldest of them.
    pub age: Duration,
    /// Seconds until all of them are committed, at the current rate.
    pub drain: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    partitions: BTreeMap<i32, Partition>,
    pace: Pace,
}

#[derive(Debug, Default)]
struct Partition {
    /// Offsets and timestamps (milliseconds since the epoch) of records taken and not yet committed.
    taken: VecDeque<(i64, i64)>,
    /// Records that nobody has taken yet.
    ahead: i64,
    /// When they began to wait, where none was taken since, in milliseconds since the epoch.
    waiting_since: Option<i64>,
    last: Option<Seen>,
    density: Density,
}

/// The share of a partition's offsets that are records. The newest statistics weigh most.
#[derive(Debug, Default)]
struct Density {
    records: f64,
    offsets: f64,
}

impl Density {
    fn observe(&mut self, records: u64, offsets: i64) {
        self.records = self.records / 2.0 + records as f64;
        self.offsets = self.offsets / 2.0 + offsets as f64;
    }

    /// An estimate of the records in this many offsets, at least 1: had all of them been markers, the consumer would
    /// have passed over them.
    fn records_in(&self, offsets: i64) -> i64 {
        if offsets <= 0 {
            return 0;
        }
        let share = if self.offsets > 0.0 {
            (self.records / self.offsets).min(1.0)
        } else {
            1.0
        };
        ((offsets as f64 * share).round() as i64).max(1)
    }
}

/// Records a second of working time: the instance's capacity, whatever its load.
#[derive(Debug, Default)]
struct Pace {
    done: f64,
    busy: f64,
    busy_since: Option<Duration>,
}

impl Pace {
    fn working(&mut self, working: bool, now: Duration) {
        if let Some(since) = self.busy_since {
            let busy = now.saturating_sub(since).as_secs_f64();
            let fade = 0.5_f64.powf(busy / HALF_LIFE.as_secs_f64());
            self.done *= fade;
            self.busy = self.busy * fade + busy;
        }
        self.busy_since = working.then_some(now);
    }

    /// 1 where nothing was done yet.
    fn per_second(&self) -> f64 {
        if self.done > 0.0 && self.busy > 0.0 {
            self.done / self.busy
        } else {
            1.0
        }
    }
}

impl Backlog {
    /// A record was taken. `now` counts from any fixed moment, here and below.
    pub fn taken(&mut self, partition: i32, offset: i64, timestamp_ms: i64, now: Duration) {
        let share = self.partitions.entry(partition).or_default();
        share.taken.push_back((offset, timestamp_ms));
        share.waiting_since = None;
        share.ahead = (share.ahead - 1).max(0);
        if self.pace.busy_since.is_none() {
            self.pace.working(true, now);
        }
    }

    /// A transaction left the partitions at these offsets and holds that many records.
    pub fn committed(&mut self, places: &BTreeMap<i32, Place>, records: usize, now: Duration) {
        for (partition, place) in places {
            if let Some(share) = self.partitions.get_mut(partition) {
                let done = share
                    .taken
                    .partition_point(|&(taken, _)| taken < place.offset);
                share.taken.drain(..done);
            }
        }
        self.pace.working(self.works(), now);
        self.pace.done += records as f64;
    }

    /// Everything taken and not committed is dropped, and will be read again.
    pub fn doubted(&mut self, now: Duration) {
        for share in self.partitions.values_mut() {
            share.ahead += share.taken.len() as i64;
            share.taken.clear();
        }
        self.pace.working(false, now);
    }

    /// A partition was assigned, revoked or lost.
    pub fn forget(&mut self, partition: i32, now: Duration) {
        self.partitions.remove(&partition);
        self.pace.working(self.works(), now);
    }

    /// New statistics of a partition.
    pub fn seen(&mut self, partition: i32, seen: Seen, now_ms: i64) {
        let share = self.partitions.entry(partition).or_default();
        if let Some(last) = share.last.replace(seen)
            && seen.next_offset > last.next_offset
            && seen.received >= last.received
        {
            share.density.observe(
                seen.received - last.received,
                seen.next_offset - last.next_offset,
            );
        }
        share.ahead = seen.queued as i64 + share.density.records_in(seen.end - seen.next_offset);
        let waits = share.ahead > 0 && share.taken.is_empty();
        share.waiting_since = waits.then(|| share.waiting_since.unwrap_or(now_ms));
    }

    pub fn measure(&mut self, now: Duration, now_ms: i64) -> Measured {
        self.pace.working(self.works(), now);
        let lag: Vec<_> = self
            .partitions
            .iter()
            .map(|(&partition, share)| (partition, share.taken.len() as i64 + share.ahead))
            .collect();
        let first = |share: &Partition| {
            share
                .taken
                .front()
                .map(|&(_, at)| at)
                .or(share.waiting_since)
        };
        let oldest = self.partitions.values().filter_map(first).min();
        let age = oldest.map_or(0, |at| now_ms.saturating_sub(at).max(0));
        let waiting: i64 = lag.iter().map(|&(_, records)| records).sum();
        Measured {
            lag,
            age: Duration::from_millis(age.unsigned_abs()),
            drain: waiting as f64 / self.pace.per_second(),
        }
    }

    fn works(&self) -> bool {
        self.partitions
            .values()
            .any(|share| !share.taken.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mark;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn seen(next_offset: i64, end: i64, received: u64, queued: usize) -> Seen {
        Seen {
            next_offset,
            end,
            received,
            queued,
        }
    }

    fn to(partition: i32, offset: i64) -> BTreeMap<i32, Place> {
        let mark = Mark::default();
        BTreeMap::from([(partition, Place { offset, mark })])
    }

    #[test]
    fn markers_do_not_count() {
        let mut backlog = Backlog::default();
        // One record, one marker, and so on; 100 offsets lie beyond what is fetched.
        backlog.seen(0, seen(0, 300, 0, 0), 0);
        backlog.seen(0, seen(200, 300, 100, 4), 0);
        assert_eq!(backlog.measure(secs(1), 0).lag, [(0, 54)]);
        // At the end, whatever the last offset is.
        backlog.seen(0, seen(300, 300, 150, 0), 0);
        assert_eq!(backlog.measure(secs(1), 0).lag, [(0, 0)]);
        // Behind what was taken only markers are left.
        backlog.taken(0, 298, 0, secs(1));
        backlog.committed(&to(0, 299), 1, secs(2));
        assert_eq!(backlog.measure(secs(2), 0).lag, [(0, 0)]);
    }

    #[test]
    fn the_age_is_that_of_the_first_record_not_committed() {
        let mut backlog = Backlog::default();
        backlog.taken(0, 5, 1_000, secs(0));
        backlog.taken(0, 7, 3_000, secs(0));
        backlog.taken(1, 2, 2_000, secs(0));
        assert_eq!(backlog.measure(secs(1), 11_000).age, secs(10));
        backlog.committed(&to(0, 6), 1, secs(1));
        assert_eq!(backlog.measure(secs(1), 11_000).age, secs(9));
        backlog.forget(1, secs(1));
        backlog.committed(&to(0, 8), 1, secs(1));
        assert_eq!(backlog.measure(secs(1), 11_000).age, secs(0));
    }

    #[test]
    fn what_nobody_takes_grows_old() {
        let mut backlog = Backlog::default();
        backlog.seen(0, seen(0, 10, 0, 0), 1_000);
        backlog.seen(0, seen(0, 10, 0, 0), 6_000);
        let measured = backlog.measure(secs(9), 9_000);
        assert_eq!((measured.age, measured.lag), (secs(8), vec![(0, 10)]));
    }

    #[test]
    fn the_rate_is_that_of_working_time() {
        let mut backlog = Backlog::default();
        // Ten records in two seconds of work, a minute apart.
        for round in 0..2 {
            let start = secs(round * 60);
            for offset in 0..5 {
                backlog.taken(0, round as i64 * 5 + offset, 0, start);
            }
            backlog.committed(&to(0, (round as i64 + 1) * 5), 5, start + secs(1));
        }
        backlog.seen(0, seen(10, 60, 10, 0), 0);
        let drain = backlog.measure(secs(120), 0).drain;
        assert!((9.5..10.5).contains(&drain), "{drain}");
    }

    #[test]
    fn an_instance_that_did_nothing_yet_is_taken_for_slow() {
        let mut backlog = Backlog::default();
        backlog.seen(3, seen(0, 40, 0, 0), 0);
        assert_eq!(backlog.measure(secs(1), 0).drain, 40.0);
    }

    #[test]
    fn what_is_dropped_waits_again() {
        let mut backlog = Backlog::default();
        backlog.taken(0, 0, 0, secs(0));
        backlog.taken(0, 1, 0, secs(0));
        backlog.doubted(secs(1));
        assert_eq!(backlog.measure(secs(1), 0).lag, [(0, 2)]);
    }
}
