//! The records of one partition that are taken and not yet committed, in the order of their offsets.

use std::collections::VecDeque;

/// Records of one partition in one epoch. Work may finish in any order; records leave in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    entries: VecDeque<Entry<T>>,
    /// The highest offset taken so far. A record that is not above it was delivered before.
    highest: i64,
}

#[derive(Debug)]
struct Entry<T> {
    offset: i64,
    bytes: usize,
    result: Option<T>,
}

/// A finished record that left the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished<T> {
    pub offset: i64,
    pub bytes: usize,
    pub result: T,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            highest: -1,
        }
    }
}

impl<T> Ledger<T> {
    /// Adds a record that is being worked on. False where it was delivered before. Offsets may have gaps, from
    /// transaction markers and compaction.
    pub fn take(&mut self, offset: i64, bytes: usize) -> bool {
        let new = offset > self.highest;
        if new {
            self.highest = offset;
            self.entries.push_back(Entry {
                offset,
                bytes,
                result: None,
            });
        }
        new
    }

    /// Sets a record's result, which has this many bytes. False where no such record is being worked on.
    pub fn finish(&mut self, offset: i64, bytes: usize, result: T) -> bool {
        let at = self.entries.partition_point(|entry| entry.offset < offset);
        match self.entries.get_mut(at) {
            Some(entry) if entry.offset == offset && entry.result.is_none() => {
                entry.bytes += bytes;
                entry.result = Some(result);
                true
            }
            _ => false,
        }
    }

    /// Removes the first record where it is finished.
    pub fn pop(&mut self) -> Option<Finished<T>> {
        self.entries.front()?.result.as_ref()?;
        let entry = self.entries.pop_front()?;
        entry.result.map(|result| Finished {
            offset: entry.offset,
            bytes: entry.bytes,
            result,
        })
    }

    /// The number of records that are being worked on.
    pub fn running(&self) -> usize {
        let running = |entry: &&Entry<T>| entry.result.is_none();
        self.entries.iter().filter(running).count()
    }

    /// The number of finished records that wait for an earlier one, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        let finished = self.entries.iter().filter(|entry| entry.result.is_some());
        finished.fold((0, 0), |(n, bytes), entry| (n + 1, bytes + entry.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

    #[test]
    fn only_the_finished_prefix_leaves() {
        let mut ledger = Ledger::default();
        for offset in [3, 4, 7] {
            assert!(ledger.take(offset, 1));
        }
        assert!(ledger.finish(7, 0, 'c'));
        assert!(ledger.finish(4, 0, 'b'));
        assert_eq!(ledger.pop(), None);
        assert_eq!((ledger.running(), ledger.held()), (1, (2, 2)));
        assert!(ledger.finish(3, 2, 'a'));
        let left: Vec<_> = std::iter::from_fn(|| ledger.pop()).collect();
        assert_eq!(
            left.iter()
                .map(|f| (f.offset, f.bytes, f.result))
                .collect::<Vec<_>>(),
            [(3, 3, 'a'), (4, 1, 'b'), (7, 1, 'c')]
        );
    }

    #[test]
    fn what_was_taken_or_finished_before_is_refused() {
        let mut ledger = Ledger::default();
        assert!(ledger.take(5, 1));
        assert!(!ledger.take(5, 1));
        assert!(!ledger.take(4, 1));
        assert!(!ledger.finish(6, 0, ()));
        assert!(ledger.finish(5, 0, ()));
        assert!(!ledger.finish(5, 0, ()));
    }

    #[test]
    fn whatever_the_order_of_finishing_all_leave_in_order() {
        for seed in 0..500 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut offsets: Vec<i64> = Vec::new();
            let mut next = 0;
            for _ in 0..random.random_range(1..40) {
                next += random.random_range(1..4);
                offsets.push(next);
            }
            let mut ledger = Ledger::default();
            for &offset in &offsets {
                assert!(ledger.take(offset, 1));
            }
            let mut order = offsets.clone();
            order.shuffle(&mut random);
            let mut left = Vec::new();
            for offset in order {
                assert!(ledger.finish(offset, 0, offset));
                left.extend(std::iter::from_fn(|| ledger.pop()).map(|f| f.result));
            }
            assert_eq!(left, offsets, "seed {seed}");
            assert_eq!((ledger.running(), ledger.held().0), (0, 0));
        }
    }
}
