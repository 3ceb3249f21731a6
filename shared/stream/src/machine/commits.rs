//! The machine's part about transactions: when one is due, what it writes, and what follows from its result.

use super::{Due, Epoch, Flow, Machine, Place, Producer};
use std::{collections::BTreeMap, time::Duration};

/// What one transaction is to write.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// For each partition the offset to commit and its mark. Some change the mark alone.
    pub places: BTreeMap<i32, Place>,
    pub results: Vec<T>,
    pub bytes: usize,
}

#[derive(Debug)]
pub(super) struct Ready<T> {
    pub partition: i32,
    pub epoch: Epoch,
    pub offset: i64,
    pub bytes: usize,
    pub result: T,
}

impl<T> Machine<T> {
    /// When the next transaction is due.
    pub fn due(&self, now: Duration) -> Due {
        if self.producer != Producer::Idle {
            return Due::Never;
        }
        let waiting = self.ready.len() + self.wanted().count();
        let due = self
            .pacing
            .due(now, self.last_commit, waiting, self.ready_bytes);
        match due {
            Due::At(_) if self.draining || self.ending => Due::Now,
            due => due,
        }
    }

    /// Takes the next transaction's batch; none where there is nothing to commit. Results of an older epoch are dropped
    /// here.
    pub fn take_batch(&mut self) -> Option<Batch<T>> {
        if self.producer != Producer::Idle {
            return None;
        }
        let mut batch = Batch {
            places: self.wanted().collect(),
            results: Vec::new(),
            bytes: 0,
        };
        while let Some(ready) = self.ready.front() {
            let full = batch.results.len() >= self.pacing.max_records
                || batch.bytes + ready.bytes > self.pacing.max_bytes;
            if full && !batch.results.is_empty() {
                break;
            }
            let Some(ready) = self.ready.pop_front() else {
                break;
            };
            self.ready_bytes -= ready.bytes;
            let Some(place) = self.place_after(&ready) else {
                self.in_flight.sub(ready.bytes, 1);
                continue;
            };
            batch.places.insert(ready.partition, place);
            batch.results.push(ready.result);
            batch.bytes += ready.bytes;
        }
        if batch.places.is_empty() {
            return None;
        }
        let places = batch.places.iter().filter_map(|(&partition, &place)| {
            let share = self.shares.get(&partition)?;
            Some((partition, share.tenure, place))
        });
        self.producer = Producer::Committing {
            bytes: batch.bytes,
            records: batch.results.len(),
            places: places.collect(),
        };
        Some(batch)
    }

    /// The offset and mark to commit after a finished record; none where the record is no longer ours.
    fn place_after(&self, ready: &Ready<T>) -> Option<Place> {
        if !self.current(ready.partition, ready.epoch) {
            return None;
        }
        let mark = self.shares.get(&ready.partition)?.moved(self.incarnation);
        Some(Place {
            offset: ready.offset + 1,
            mark: if self.ending { mark.released() } else { mark },
        })
    }

    /// The running commit succeeded. Records may now be taken from more partitions than before.
    pub fn committed(&mut self, now: Duration) {
        for (partition, tenure, place) in self.end_of_commit() {
            let share = self.shares.get_mut(&partition);
            if let Some(share) = share.filter(|share| share.tenure == tenure) {
                share.settled(place);
            }
        }
        self.last_commit = Some(now);
        self.producer = Producer::Idle;
    }

    /// The running commit failed, or its result is unknown. Everything taken is dropped, and the committed offsets must
    /// be read from the broker.
    pub fn doubted(&mut self) {
        self.end_of_commit();
        self.producer = Producer::Recovering;
        for partition in self.partitions() {
            let epoch = self.next_epoch();
            if let Some(share) = self.dropped(partition) {
                let flow = match share.flow {
                    Flow::Leaving => Flow::Leaving,
                    _ => Flow::Unknown,
                };
                self.shares
                    .insert(partition, share.renewed(epoch, flow, None));
            }
        }
    }

    fn end_of_commit(&mut self) -> Vec<(i32, Epoch, Place)> {
        match std::mem::replace(&mut self.producer, Producer::Idle) {
            Producer::Committing {
                bytes,
                records,
                places,
            } => {
                self.in_flight.sub(bytes, records);
                places
            }
            _ => Vec::new(),
        }
    }
}
