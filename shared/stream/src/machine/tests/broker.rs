//! A model of a Kafka cluster: one input topic, one group, transactions, and an output log.

use crate::machine::{Mark, Place};
use std::collections::BTreeMap;

/// An input record: its number over all partitions, its key, and whether it kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    pub id: usize,
    pub key: usize,
    /// The process that works on it dies.
    pub kills: bool,
}

/// What a transaction writes for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub input: Input,
    pub fate: Fate,
}

/// How an input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    DeadLetter,
    /// A dead letter, too: processes died of it.
    Crashed,
}

/// A static member of the group: the same instance started again is another incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub instance: usize,
    pub incarnation: u32,
}

/// A transactional id: an instance has several producers that take turns.
pub type TransactionalId = (usize, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Somebody newer has the transactional id, or the group instance.
    Fenced,
    /// The member is not of the group's current generation.
    Generation,
    /// The last transaction of this id is not completed: ask again.
    Concurrent,
    /// A transaction that moves this offset is not completed: ask again.
    Unstable,
}

#[derive(Debug, Default)]
struct Transaction {
    epoch: u32,
    open: Option<Open>,
    /// Decided and acknowledged, markers not yet written.
    completing: Option<(Open, bool)>,
}

#[derive(Debug)]
struct Open {
    serial: usize,
    /// With each offset its place in the log of offset commits.
    offsets: BTreeMap<i32, (usize, Place)>,
}

#[derive(Debug, Default)]
pub struct Broker {
    /// By partition and offset; none is a marker that no consumer sees.
    pub inputs: Vec<Vec<Option<Input>>>,
    committed: Vec<Option<(usize, Place)>>,
    log: Vec<(usize, Written)>,
    /// By serial number of the transaction; none while open.
    ends: Vec<Option<bool>>,
    transactions: BTreeMap<TransactionalId, Transaction>,
    offset_commits: usize,
    pub group: Group,
}

impl Broker {
    pub fn new(inputs: Vec<Vec<Option<Input>>>) -> Self {
        let partitions = inputs.len();
        Self {
            inputs,
            committed: vec![None; partitions],
            group: Group {
                owners: vec![None; partitions],
                targets: vec![None; partitions],
                ..Group::default()
            },
            ..Self::default()
        }
    }

    /// InitProducerId: a new epoch, once nothing of the id is open any more.
    pub fn init(&mut self, id: TransactionalId) -> Result<u32, Refused> {
        let transaction = self.transactions.entry(id).or_default();
        if transaction.completing.is_some() {
            return Err(Refused::Concurrent);
        }
        transaction.epoch += 1;
        if let Some(open) = transaction.open.take() {
            transaction.completing = Some((open, false));
            return Err(Refused::Concurrent);
        }
        Ok(transaction.epoch)
    }

    /// The transaction of this id became too old.
    pub fn time_out(&mut self, id: TransactionalId) -> bool {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return false;
        };
        let Some(open) = transaction.open.take() else {
            return false;
        };
        transaction.epoch += 1;
        transaction.completing = Some((open, false));
        true
    }

    fn open(&mut self, id: TransactionalId, epoch: u32) -> Result<&mut Open, Refused> {
        let serial = self.ends.len();
        let transaction = self.transactions.entry(id).or_default();
        if transaction.epoch != epoch {
            return Err(Refused::Fenced);
        }
        if transaction.completing.is_some() {
            return Err(Refused::Concurrent);
        }
        if transaction.open.is_none() {
            self.ends.push(None);
        }
        Ok(transaction.open.get_or_insert_with(|| Open {
            serial,
            offsets: BTreeMap::new(),
        }))
    }

    pub fn produce(
        &mut self,
        id: TransactionalId,
        epoch: u32,
        written: Written,
    ) -> Result<(), Refused> {
        let serial = self.open(id, epoch)?.serial;
        self.log.push((serial, written));
        Ok(())
    }

    pub fn send_offsets(
        &mut self,
        id: TransactionalId,
        epoch: u32,
        member: Member,
        generation: u32,
        places: &BTreeMap<i32, Place>,
    ) -> Result<(), Refused> {
        let commit = self.offset_commits;
        self.offset_commits += 1;
        self.open(id, epoch)?;
        self.group.check(member, generation)?;
        let open = self.open(id, epoch)?;
        for (&partition, &place) in places {
            open.offsets.insert(partition, (commit, place));
        }
        Ok(())
    }

    /// EndTxn: decided when acknowledged, visible when the markers are written.
    pub fn end(&mut self, id: TransactionalId, epoch: u32, commit: bool) -> Result<(), Refused> {
        self.open(id, epoch)?;
        let transaction = self.transactions.entry(id).or_default();
        if let Some(open) = transaction.open.take() {
            transaction.completing = Some((open, commit));
        }
        Ok(())
    }

    /// Writes the markers of a decided transaction; false where none waits.
    pub fn complete(&mut self, id: TransactionalId) -> bool {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return false;
        };
        let Some((open, commit)) = transaction.completing.take() else {
            return false;
        };
        self.ends[open.serial] = Some(commit);
        if commit {
            for (partition, committed) in open.offsets {
                self.commit(partition, committed);
            }
        }
        true
    }

    fn commit(&mut self, partition: i32, (number, place): (usize, Place)) {
        let held = &mut self.committed[partition as usize];
        if held.is_none_or(|(before, _)| before < number) {
            *held = Some((number, place));
        }
    }

    /// A plain offset commit, outside any transaction.
    pub fn commit_plainly(&mut self, member: Member, generation: u32, partition: i32, offset: i64) {
        if self.group.check(member, generation).is_ok() {
            self.offset_commits += 1;
            let mark = Mark::default();
            self.commit(partition, (self.offset_commits, Place { offset, mark }));
        }
    }

    /// OffsetFetch with `require_stable`.
    pub fn committed(&self, partition: i32) -> Result<Option<Place>, Refused> {
        let moves = |open: &Open| open.offsets.contains_key(&partition);
        let unstable = self.transactions.values().any(|t| {
            t.open.as_ref().is_some_and(moves)
                || t.completing.as_ref().is_some_and(|(open, _)| moves(open))
        });
        if unstable {
            Err(Refused::Unstable)
        } else {
            Ok(self.committed[partition as usize].map(|(_, place)| place))
        }
    }

    pub fn ids(&self) -> Vec<TransactionalId> {
        self.transactions.keys().copied().collect()
    }

    /// What a reader of committed records sees, in order.
    pub fn visible(&self) -> impl Iterator<Item = Written> + '_ {
        self.log
            .iter()
            .filter(|(serial, _)| self.ends[*serial] == Some(true))
            .map(|(_, written)| *written)
    }

    pub fn quiet(&self) -> bool {
        self.transactions
            .values()
            .all(|t| t.open.is_none() && t.completing.is_none())
    }
}

/// A consumer group with cooperative rebalancing: a partition moves only after its owner has let go, or is gone.
#[derive(Debug, Default)]
pub struct Group {
    pub generation: u32,
    pub members: BTreeMap<usize, u32>,
    owners: Vec<Option<Member>>,
    targets: Vec<Option<usize>>,
    incarnations: u32,
}

/// What the group tells a member.
#[derive(Debug, Default)]
pub struct News {
    pub generation: u32,
    pub revoked: Vec<i32>,
    pub assigned: Vec<i32>,
}

impl Group {
    /// Joins, or takes over from an earlier incarnation of the same instance without a rebalance.
    pub fn join(&mut self, instance: usize) -> Member {
        self.incarnations += 1;
        let member = Member {
            instance,
            incarnation: self.incarnations,
        };
        let before = self.members.insert(instance, member.incarnation);
        for owner in &mut self.owners {
            // The new one has not been told yet: it will be assigned what the old one had.
            if owner.is_some_and(|owner| owner.instance == instance) {
                *owner = None;
            }
        }
        if before.is_none() {
            self.rebalance();
        }
        member
    }

    /// The member left, or was silent for too long.
    pub fn remove(&mut self, instance: usize) -> bool {
        let there = self.members.remove(&instance).is_some();
        if there {
            for owner in &mut self.owners {
                if owner.is_some_and(|owner| owner.instance == instance) {
                    *owner = None;
                }
            }
            self.rebalance();
        }
        there
    }

    fn rebalance(&mut self) {
        self.generation += 1;
        let members: Vec<usize> = self.members.keys().copied().collect();
        for (number, target) in self.targets.iter_mut().enumerate() {
            let place = number + self.generation as usize;
            *target = (!members.is_empty()).then(|| members[place % members.len()]);
        }
    }

    pub fn check(&self, member: Member, generation: u32) -> Result<(), Refused> {
        match self.members.get(&member.instance) {
            Some(&incarnation) if incarnation != member.incarnation => Err(Refused::Fenced),
            Some(_) if generation == self.generation => Ok(()),
            _ => Err(Refused::Generation),
        }
    }

    /// The member asks where it stands. Err(Fenced): another incarnation took over; Err(Generation): thrown out.
    pub fn sync(&mut self, member: Member) -> Result<News, Refused> {
        match self.check(member, self.generation) {
            Ok(()) => {}
            Err(refused) => return Err(refused),
        }
        let mut news = News {
            generation: self.generation,
            ..News::default()
        };
        for partition in 0..self.owners.len() {
            let mine = self.targets[partition] == Some(member.instance);
            match self.owners[partition] {
                Some(owner) if owner == member && !mine => news.revoked.push(partition as i32),
                None if mine => {
                    self.owners[partition] = Some(member);
                    news.assigned.push(partition as i32);
                }
                _ => {}
            }
        }
        Ok(news)
    }

    pub fn release(&mut self, member: Member, partition: i32) {
        let owner = &mut self.owners[partition as usize];
        if *owner == Some(member) {
            *owner = None;
        }
    }
}
