//! Claiming partitions. Before records are taken from a new partition, the commit thread reads its committed offset and
//! mark, and commits a mark that names this process as the owner. [`mark`](crate::machine::mark) has the rules.

use super::Committer;
use crate::machine::{Epoch, Found, Mark, Place, Running};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaError};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the first read may take. Commits of other partitions wait meanwhile, and the broker does not answer while a
/// transaction of a dead owner is open, until that times out.
const PATIENCE: Duration = Duration::from_millis(100);
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// How often reading failed in a row, and when it may be tried again.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    failures: u32,
    not_before: Option<Instant>,
}

impl Claims {
    pub fn due(&self) -> bool {
        self.not_before.is_none_or(|then| then <= Instant::now())
    }

    fn patience(&self) -> Duration {
        (PATIENCE * 2u32.saturating_pow(self.failures.min(8))).min(LONGEST)
    }

    fn failed(&mut self) {
        self.not_before = Some(Instant::now() + self.patience().min(Duration::from_secs(1)));
        self.failures += 1;
    }
}

impl Committer {
    /// Reads the committed offsets and marks of new partitions.
    pub(super) fn look(&mut self) {
        let new = self.shared.machine().unclaimed();
        let started = Instant::now();
        match self.find(&new, self.claims.patience()) {
            Ok(found) => {
                let took = started.elapsed();
                tracing::debug!(
                    partitions = found.len(),
                    ?took,
                    "read what the broker holds"
                );
                self.claims = Claims::default();
                self.learned(&found);
            }
            Err(error) => {
                tracing::info!(%error, "the committed offsets of new partitions are not settled yet; trying again");
                self.claims.failed();
            }
        }
    }

    pub(super) fn learned(&self, found: &[Found]) {
        let claims = self.shared.change(|machine| machine.learned(found));
        claims.iter().for_each(explain);
    }

    pub(super) fn find(
        &self,
        asked: &[(i32, Epoch)],
        patience: Duration,
    ) -> Result<Vec<Found>, KafkaError> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::new();
        for &(partition, _) in asked {
            list.add_partition(&self.topic, partition);
        }
        let answer = self.consumer.committed_offsets(list, patience)?;
        let mut held = BTreeMap::new();
        for element in answer.elements() {
            element.error()?;
            let mark = Mark::parse(element.metadata());
            held.insert(element.partition(), (element.offset(), mark));
        }
        let mut all = Vec::new();
        for &(partition, epoch) in asked {
            if let Some(&(offset, mark)) = held.get(&partition) {
                all.push(self.found(partition, epoch, offset, mark, patience)?);
            }
        }
        Ok(all)
    }

    fn found(
        &self,
        partition: i32,
        epoch: Epoch,
        committed: Offset,
        mark: Mark,
        patience: Duration,
    ) -> Result<Found, KafkaError> {
        let ends = || {
            self.consumer
                .fetch_watermarks(&self.topic, partition, patience)
        };
        let suspicious = self.shared.machine().end_matters(mark);
        let (offset, end) = match committed {
            Offset::Offset(offset) if suspicious => (offset, Some(ends()?.1)),
            Offset::Offset(offset) => (offset, None),
            // Nothing is committed yet. The consumer starts at the beginning, so the mark is committed with that
            // offset.
            _ => (ends()?.0, None),
        };
        Ok(Found {
            partition,
            epoch,
            offset,
            mark,
            end,
        })
    }
}

/// The offsets of a transaction, each with its mark as metadata.
pub(super) fn list(topic: &str, places: &BTreeMap<i32, Place>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (&partition, place) in places {
        let mut element = list.add_partition(topic, partition);
        if let Err(error) = element.set_offset(Offset::Offset(place.offset)) {
            tracing::error!(%error, partition, "offset out of range");
        }
        let text = place.mark.to_string();
        if !text.is_empty() {
            element.set_metadata(text);
        }
    }
    list
}

/// Logs that owners of a partition died.
fn explain(&(partition, Place { offset, mark }): &(i32, Place)) {
    match mark.running {
        Running::Together { deaths: 0 } => {}
        Running::Together { deaths } => tracing::warn!(
            partition,
            offset,
            deaths,
            "the last owner of the partition ended uncleanly and did not move its offset"
        ),
        Running::Alone { left, suspect } => tracing::warn!(
            partition,
            offset,
            records = left,
            died_of_the_first = suspect.map_or(0, |suspect| suspect.died),
            "processes died again and again without moving the partition's offset: its next records run one at a time, \
             and nothing beside them, to find the one they died of"
        ),
    }
}
