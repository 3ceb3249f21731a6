//! Committed offsets of consumer groups, and those that wait for their transaction to end.

use std::collections::{BTreeMap, HashMap};

/// A topic and partition.
pub type Place = (String, i32);

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub at_ms: i64,
}

/// What is committed where, with the order in which it came.
type Places = BTreeMap<Place, (u64, Committed)>;

/// See the module.
#[derive(Debug, Default)]
pub struct Offsets {
    /// By group.
    committed: HashMap<String, Places>,
    /// By producer id and group: what its open transaction will commit.
    pending: HashMap<i64, HashMap<String, Places>>,
    came: u64,
}

impl Offsets {
    pub fn commit(&mut self, group: &str, place: Place, committed: Committed) {
        self.came += 1;
        self.committed
            .entry(group.to_owned())
            .or_default()
            .insert(place, (self.came, committed));
    }

    /// Keeps an offset for when the producer's transaction commits.
    pub fn prepare(&mut self, producer_id: i64, group: &str, place: Place, committed: Committed) {
        self.came += 1;
        let of_producer = self.pending.entry(producer_id).or_default();
        of_producer
            .entry(group.to_owned())
            .or_default()
            .insert(place, (self.came, committed));
    }

    /// Ends the producer's transaction: its offsets count unless something newer was committed, or are dropped.
    pub fn end(&mut self, producer_id: i64, commit: bool) {
        let Some(groups) = self.pending.remove(&producer_id) else {
            return;
        };
        for (group, places) in groups.into_iter().filter(|_| commit) {
            let ours = self.committed.entry(group).or_default();
            for (place, new) in places {
                if ours.get(&place).is_none_or(|old| old.0 < new.0) {
                    ours.insert(place, new);
                }
            }
        }
    }

    pub fn get(&self, group: &str, place: &Place) -> Option<&Committed> {
        self.committed.get(group)?.get(place).map(|c| &c.1)
    }

    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&Place, &Committed)> {
        self.committed
            .get(group)
            .into_iter()
            .flatten()
            .map(|(place, c)| (place, &c.1))
    }

    /// Whether an open transaction is about to commit an offset there.
    pub fn is_unstable(&self, group: &str, place: &Place) -> bool {
        self.pending.values().any(|groups| {
            groups
                .get(group)
                .is_some_and(|places| places.contains_key(place))
        })
    }

    pub fn has_pending(&self, producer_id: i64) -> bool {
        self.pending.contains_key(&producer_id)
    }

    pub fn groups(&self) -> impl Iterator<Item = &String> {
        self.committed.keys()
    }

    pub fn pending(&self) -> impl Iterator<Item = (i64, &String, &Place, &Committed)> {
        self.pending.iter().flat_map(|(id, groups)| {
            groups.iter().flat_map(move |(group, places)| {
                places
                    .iter()
                    .map(move |(place, c)| (*id, group, place, &c.1))
            })
        })
    }

    pub fn forget(&mut self, group: &str, place: &Place) {
        if let Some(places) = self.committed.get_mut(group) {
            places.remove(place);
        }
    }

    pub fn forget_group(&mut self, group: &str) {
        self.committed.remove(group);
    }

    /// Forgets a deleted topic.
    pub fn forget_topic(&mut self, topic: &str) {
        let pending = self.pending.values_mut().flat_map(HashMap::values_mut);
        for places in self.committed.values_mut().chain(pending) {
            places.retain(|place, _| place.0 != topic);
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
        let place = ("t".to_owned(), 0);
        let mut offsets = Offsets::default();
        offsets.commit("g", place.clone(), at(1));
        offsets.prepare(7, "g", place.clone(), at(5));
        assert!(offsets.is_unstable("g", &place));
        assert_eq!(offsets.get("g", &place).unwrap().offset, 1);
        offsets.end(7, true);
        assert!(!offsets.is_unstable("g", &place));
        assert_eq!(offsets.get("g", &place).unwrap().offset, 5);
        offsets.prepare(7, "g", place.clone(), at(9));
        offsets.end(7, false);
        assert_eq!(offsets.get("g", &place).unwrap().offset, 5);
    }

    #[test]
    fn what_was_committed_later_outlives_an_older_transaction() {
        let place = ("t".to_owned(), 0);
        let mut offsets = Offsets::default();
        offsets.prepare(7, "g", place.clone(), at(5));
        offsets.commit("g", place.clone(), at(8));
        offsets.end(7, true);
        assert_eq!(offsets.get("g", &place).unwrap().offset, 8);
    }
}
