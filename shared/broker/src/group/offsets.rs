//! Committed offsets of consumer groups, and offsets of open transactions.

use std::collections::{BTreeMap, HashMap};

/// A topic and partition.
pub(crate) type TopicPartition = (String, i32);

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub at_ms: i64,
}

/// Offsets by partition, with a sequence number for their order.
type ByPartition = BTreeMap<TopicPartition, (u64, Committed)>;

/// The offsets of all groups.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// By group.
    committed: HashMap<String, ByPartition>,
    /// The offsets of open transactions, by producer id and group.
    pending: HashMap<i64, HashMap<String, ByPartition>>,
    came: u64,
}

impl Offsets {
    pub(crate) fn commit(&mut self, group: &str, partition: TopicPartition, committed: Committed) {
        self.came += 1;
        self.committed
            .entry(group.to_owned())
            .or_default()
            .insert(partition, (self.came, committed));
    }

    /// Keeps an offset for when the producer's transaction commits.
    pub(crate) fn prepare(
        &mut self,
        producer_id: i64,
        group: &str,
        partition: TopicPartition,
        committed: Committed,
    ) {
        self.came += 1;
        let of_producer = self.pending.entry(producer_id).or_default();
        of_producer
            .entry(group.to_owned())
            .or_default()
            .insert(partition, (self.came, committed));
    }

    /// Ends the producer's transaction. On commit, its offsets apply unless a later commit came after them.
    pub(crate) fn end(&mut self, producer_id: i64, commit: bool) {
        let Some(groups) = self.pending.remove(&producer_id) else {
            return;
        };
        for (group, partitions) in groups.into_iter().filter(|_| commit) {
            let ours = self.committed.entry(group).or_default();
            for (partition, new) in partitions {
                if ours.get(&partition).is_none_or(|old| old.0 < new.0) {
                    ours.insert(partition, new);
                }
            }
        }
    }

    pub(crate) fn get(&self, group: &str, partition: &TopicPartition) -> Option<&Committed> {
        self.committed.get(group)?.get(partition).map(|c| &c.1)
    }

    pub(crate) fn of_group(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.committed
            .get(group)
            .into_iter()
            .flatten()
            .map(|(partition, c)| (partition, &c.1))
    }

    /// Whether an open transaction has an offset for the partition.
    pub(crate) fn is_unstable(&self, group: &str, partition: &TopicPartition) -> bool {
        self.pending.values().any(|groups| {
            groups
                .get(group)
                .is_some_and(|partitions| partitions.contains_key(partition))
        })
    }

    pub(crate) fn has_pending(&self, producer_id: i64) -> bool {
        self.pending.contains_key(&producer_id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &String> {
        self.committed.keys()
    }

    pub(crate) fn pending(
        &self,
    ) -> impl Iterator<Item = (i64, &String, &TopicPartition, &Committed)> {
        self.pending.iter().flat_map(|(id, groups)| {
            groups.iter().flat_map(move |(group, partitions)| {
                partitions
                    .iter()
                    .map(move |(partition, c)| (*id, group, partition, &c.1))
            })
        })
    }

    pub(crate) fn forget(&mut self, group: &str, partition: &TopicPartition) {
        if let Some(partitions) = self.committed.get_mut(group) {
            partitions.remove(partition);
        }
    }

    pub(crate) fn forget_group(&mut self, group: &str) {
        self.committed.remove(group);
    }

    /// Forgets a deleted topic.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        let pending = self.pending.values_mut().flat_map(HashMap::values_mut);
        for partitions in self.committed.values_mut().chain(pending) {
            partitions.retain(|partition, _| partition.0 != topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Committed {
        Committed {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            at_ms: 0,
        }
    }

    #[test]
    fn a_transaction_s_offsets_count_from_its_commit_on() {
        let partition = ("t".to_owned(), 0);
        let mut offsets = Offsets::default();
        offsets.commit("g", partition.clone(), at(1));
        offsets.prepare(7, "g", partition.clone(), at(5));
        assert!(offsets.is_unstable("g", &partition));
        assert_eq!(offsets.get("g", &partition).unwrap().offset, 1);
        offsets.end(7, true);
        assert!(!offsets.is_unstable("g", &partition));
        assert_eq!(offsets.get("g", &partition).unwrap().offset, 5);
        offsets.prepare(7, "g", partition.clone(), at(9));
        offsets.end(7, false);
        assert_eq!(offsets.get("g", &partition).unwrap().offset, 5);
    }

    #[test]
    fn what_was_committed_later_outlives_an_older_transaction() {
        let partition = ("t".to_owned(), 0);
        let mut offsets = Offsets::default();
        offsets.prepare(7, "g", partition.clone(), at(5));
        offsets.commit("g", partition.clone(), at(8));
        offsets.end(7, true);
        assert_eq!(offsets.get("g", &partition).unwrap().offset, 8);
    }
}
