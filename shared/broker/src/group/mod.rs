//! Consumer groups: their members, generations and committed offsets.
//!
//! [`machine`] decides and [`offsets`] stores; this module adds the clock, the journal and the waiting requests.

mod join;
pub(crate) mod machine;
pub(crate) mod member;
pub(crate) mod offsets;
mod rebalance;
pub(crate) mod record;
mod registry;
#[cfg(test)]
mod tests;

use crate::{config::Fsync, journal::Journal};
use machine::{Group, State};
use member::{Join, Joined, Refused, Sync, Synced};
use offsets::{Committed, Offsets, TopicPartition};
use parking_lot::Mutex;
use record::{Entry, Generation};
use registry::{Registry, Waiting};
use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, oneshot};

/// Why a request about a group fails.
#[derive(Debug)]
pub(crate) enum Error {
    Refused(Refused),
    /// The journal can't be written.
    Storage(io::Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

/// The member that commits; empty and -1 for clients that are not members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committer {
    pub member_id: String,
    pub instance: Option<String>,
    pub generation: i32,
}

/// The group coordinator: all groups and their committed offsets.
#[derive(Debug)]
pub(crate) struct Groups {
    registry: Mutex<Registry>,
    began: Instant,
    /// Notified when a deadline may be earlier than before.
    rearm: Notify,
    initial_delay_ms: i64,
}

impl Groups {
    pub(crate) fn open(data: &Path, fsync: Fsync, initial_delay: Duration) -> io::Result<Self> {
        let initial_delay_ms = i64::try_from(initial_delay.as_millis()).unwrap_or(i64::MAX);
        let mut offsets = Offsets::default();
        let mut generations: HashMap<String, Generation> = HashMap::new();
        let journal = Journal::open(&data.join("groups.log"), fsync, |payload| {
            let entry = Entry::decode(payload)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            match entry.apply(&mut offsets) {
                Some((group, Some(generation))) => drop(generations.insert(group, generation)),
                Some((group, None)) => drop(generations.remove(&group)),
                None => {}
            }
            Ok(())
        })?;
        let mut groups = HashMap::new();
        for (name, generation) in generations {
            let mut group = Group::new(initial_delay_ms);
            generation.revive(&mut group, 0);
            groups.insert(name, group);
        }
        for name in offsets.groups() {
            groups
                .entry(name.clone())
                .or_insert_with(|| Group::new(initial_delay_ms));
        }
        let registry = Registry {
            groups,
            offsets,
            waiting: HashMap::new(),
            tickets: 0,
            journal,
        };
        Ok(Self {
            registry: Mutex::new(registry),
            began: Instant::now(),
            rearm: Notify::new(),
            initial_delay_ms,
        })
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Waits until the group has a new generation.
    pub(crate) async fn join(
        &self,
        group_id: &str,
        join: Join,
    ) -> Result<Joined, (Refused, String)> {
        let told_id = join.member_id.clone();
        let (sender, receiver) = oneshot::channel();
        {
            let mut registry = self.registry.lock();
            let ticket = registry.ticket(Waiting::Join(sender));
            let prefix = join
                .instance
                .clone()
                .unwrap_or_else(|| join.client_id.clone());
            let new_id = || format!("{prefix}-{}", uuid::Uuid::new_v4());
            if !join.member_id.is_empty() && !registry.groups.contains_key(group_id) {
                return Err((Refused::UnknownMemberId, told_id));
            }
            let initial_delay_ms = self.initial_delay_ms;
            registry
                .groups
                .entry(group_id.to_owned())
                .or_insert_with(|| Group::new(initial_delay_ms));
            registry.change(group_id, |group, out| {
                group.join(self.now(), ticket, join, new_id, out)
            });
        }
        self.rearm.notify_one();
        receiver
            .await
            .unwrap_or(Err((Refused::UnknownMemberId, told_id)))
    }

    /// Waits until the leader has sent the assignment.
    pub(crate) async fn sync(&self, group_id: &str, sync: Sync) -> Result<Synced, Error> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut registry = self.registry.lock();
            let ticket = registry.ticket(Waiting::Sync(sender));
            let group = registry
                .groups
                .get(group_id)
                .ok_or(Refused::UnknownMemberId)?;
            let was = group.state;
            let mut out = Vec::new();
            let Some(group) = registry.groups.get_mut(group_id) else {
                return Err(Refused::UnknownMemberId.into());
            };
            group.sync(self.now(), ticket, sync, &mut out);
            if was != State::Stable && group.state == State::Stable {
                let entry = Entry::Generation {
                    group: group_id.to_owned(),
                    state: Generation::of(group),
                };
                registry.journal.append(&entry.encode())?;
            }
            registry.deliver(out);
        }
        self.rearm.notify_one();
        Ok(receiver.await.unwrap_or(Err(Refused::UnknownMemberId))?)
    }

    pub(crate) fn heartbeat(
        &self,
        group_id: &str,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), Refused> {
        let mut registry = self.registry.lock();
        let group = registry
            .groups
            .get_mut(group_id)
            .ok_or(Refused::UnknownMemberId)?;
        group.heartbeat(self.now(), member_id, instance, generation)
    }

    pub(crate) fn leave(
        &self,
        group_id: &str,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), Refused> {
        let mut registry = self.registry.lock();
        if !registry.groups.contains_key(group_id) {
            return Err(Refused::UnknownMemberId);
        }
        let mut left = Ok(());
        registry.change(group_id, |group, out| {
            left = group.leave(self.now(), member_id, instance, out)
        });
        drop(registry);
        self.rearm.notify_one();
        left
    }

    /// Commits offsets, for a member or for a client without a group membership.
    pub(crate) fn commit(
        &self,
        group_id: &str,
        by: &Committer,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), Error> {
        let mut registry = self.registry.lock();
        self.check(&mut registry, group_id, by, false)?;
        registry.write(Entry::Commit {
            group: group_id.to_owned(),
            offsets,
        })?;
        Ok(())
    }

    /// Keeps offsets for when the producer's transaction commits.
    pub(crate) fn prepare(
        &self,
        producer_id: i64,
        group_id: &str,
        by: &Committer,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), Error> {
        let mut registry = self.registry.lock();
        self.check(&mut registry, group_id, by, true)?;
        registry.write(Entry::Prepare {
            producer_id,
            group: group_id.to_owned(),
            offsets,
        })?;
        Ok(())
    }

    fn check(
        &self,
        registry: &mut Registry,
        group_id: &str,
        by: &Committer,
        transactional: bool,
    ) -> Result<(), Refused> {
        if !registry.groups.contains_key(group_id) {
            if by.generation >= 0 {
                return Err(Refused::IllegalGeneration);
            }
            registry
                .groups
                .insert(group_id.to_owned(), Group::new(self.initial_delay_ms));
        }
        let Some(group) = registry.groups.get_mut(group_id) else {
            return Ok(());
        };
        group.check_commit(
            &by.member_id,
            by.instance.as_deref(),
            by.generation,
            transactional,
        )?;
        group.touch(self.now(), &by.member_id);
        Ok(())
    }

    /// Ends the producer's transaction for every group it has offsets in.
    pub(crate) fn end_transaction(&self, producer_id: i64, commit: bool) -> io::Result<()> {
        let mut registry = self.registry.lock();
        if registry.offsets.has_pending(producer_id) {
            registry.write(Entry::End {
                producer_id,
                commit,
            })?;
        }
        Ok(())
    }

    /// Reads a group's offsets.
    pub(crate) fn offsets<T>(&self, look: impl FnOnce(&Offsets) -> T) -> T {
        look(&self.registry.lock().offsets)
    }

    /// Reads all groups.
    pub(crate) fn groups<T>(&self, look: impl FnOnce(&HashMap<String, Group>) -> T) -> T {
        look(&self.registry.lock().groups)
    }

    /// Forgets an empty group.
    pub(crate) fn delete(&self, group_id: &str) -> Result<(), Error> {
        let mut registry = self.registry.lock();
        let group = registry
            .groups
            .get(group_id)
            .ok_or(Refused::GroupIdNotFound)?;
        if !group.members.is_empty() {
            return Err(Refused::NonEmptyGroup.into());
        }
        registry.write(Entry::ForgetGroup {
            group: group_id.to_owned(),
        })?;
        registry.groups.remove(group_id);
        Ok(())
    }

    pub(crate) fn delete_offset(
        &self,
        group_id: &str,
        partition: TopicPartition,
    ) -> Result<(), Error> {
        let mut registry = self.registry.lock();
        registry.write(Entry::ForgetPartition {
            group: group_id.to_owned(),
            partition,
        })?;
        Ok(())
    }

    pub(crate) fn forget_topic(&self, topic: &str) -> io::Result<()> {
        self.registry.lock().write(Entry::ForgetTopic {
            topic: topic.to_owned(),
        })
    }

    /// Acts at each deadline; runs until it is dropped.
    pub(crate) async fn keep_time(&self) {
        loop {
            let next = {
                let mut registry = self.registry.lock();
                let now = self.now();
                let due: Vec<_> = registry
                    .groups
                    .iter()
                    .filter(|(_, g)| g.next_deadline().is_some_and(|at| at <= now))
                    .map(|(id, _)| id.clone())
                    .collect();
                for id in due {
                    registry.change(&id, |group, out| group.tick(now, out));
                }
                registry
                    .groups
                    .values()
                    .filter_map(Group::next_deadline)
                    .min()
                    .map(|at| (at - now).max(1))
            };
            let wait = next.map_or(Duration::from_hours(1), |ms| {
                Duration::from_millis(ms.cast_unsigned())
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.rearm.notified() => {}
            }
        }
    }

    pub(crate) fn sync_journal(&self) -> io::Result<()> {
        self.registry.lock().journal.sync()
    }
}
