//! Consumer groups: their members, generations and committed offsets.
//!
//! [`machine`] decides, [`offsets`] remembers; this module gives them a clock and a journal, and brings requests to them.

mod join;
pub mod machine;
pub mod member;
pub mod offsets;
mod rebalance;
pub mod record;
mod registry;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::config::Fsync;
use crate::journal::Journal;
use crate::sync::lock;
use machine::{Group, State};
use member::{Join, Joined, Refused, Sync, Synced};
use offsets::{Committed, Offsets, Place};
use record::{Entry, Generation};
use registry::{Registry, Waiting};

/// Why a request about a group fails.
#[derive(Debug)]
pub enum Error {
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

/// Who commits: empty and -1 for clients that aren't members.
#[derive(Debug, Clone, Default)]
pub struct Committer {
    pub member_id: String,
    pub instance: Option<String>,
    pub generation: i32,
}

/// See the module.
#[derive(Debug)]
pub struct Groups {
    registry: Mutex<Registry>,
    began: Instant,
    /// A deadline may have come closer.
    rearm: Notify,
    initial_delay_ms: i64,
}

impl Groups {
    pub fn open(data: &Path, fsync: Fsync, initial_delay: Duration) -> io::Result<Self> {
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
    pub async fn join(&self, group_id: &str, join: Join) -> Result<Joined, (Refused, String)> {
        let told_id = join.member_id.clone();
        let (sender, receiver) = oneshot::channel();
        {
            let mut registry = lock(&self.registry);
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

    /// Waits until the leader has brought the assignment.
    pub async fn sync(&self, group_id: &str, sync: Sync) -> Result<Synced, Error> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut registry = lock(&self.registry);
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

    pub fn heartbeat(
        &self,
        group_id: &str,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), Refused> {
        let mut registry = lock(&self.registry);
        let group = registry
            .groups
            .get_mut(group_id)
            .ok_or(Refused::UnknownMemberId)?;
        group.heartbeat(self.now(), member_id, instance, generation)
    }

    pub fn leave(
        &self,
        group_id: &str,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), Refused> {
        let mut registry = lock(&self.registry);
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

    /// Commits offsets, in the name of a member or of nobody.
    pub fn commit(
        &self,
        group_id: &str,
        by: &Committer,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<(), Error> {
        let mut registry = lock(&self.registry);
        self.check(&mut registry, group_id, by, false)?;
        registry.write(Entry::Commit {
            group: group_id.to_owned(),
            offsets,
        })?;
        Ok(())
    }

    /// Keeps offsets for when the producer's transaction commits.
    pub fn prepare(
        &self,
        producer_id: i64,
        group_id: &str,
        by: &Committer,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<(), Error> {
        let mut registry = lock(&self.registry);
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
    pub fn end_transaction(&self, producer_id: i64, commit: bool) -> io::Result<()> {
        let mut registry = lock(&self.registry);
        if registry.offsets.has_pending(producer_id) {
            registry.write(Entry::End {
                producer_id,
                commit,
            })?;
        }
        Ok(())
    }

    /// Looks at a group's offsets.
    pub fn offsets<T>(&self, look: impl FnOnce(&Offsets) -> T) -> T {
        look(&lock(&self.registry).offsets)
    }

    /// Looks at all groups.
    pub fn groups<T>(&self, look: impl FnOnce(&HashMap<String, Group>) -> T) -> T {
        look(&lock(&self.registry).groups)
    }

    /// Forgets an empty group.
    pub fn delete(&self, group_id: &str) -> Result<(), Error> {
        let mut registry = lock(&self.registry);
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

    pub fn delete_offset(&self, group_id: &str, place: Place) -> Result<(), Error> {
        let mut registry = lock(&self.registry);
        registry.write(Entry::ForgetPlace {
            group: group_id.to_owned(),
            place,
        })?;
        Ok(())
    }

    pub fn forget_topic(&self, topic: &str) -> io::Result<()> {
        lock(&self.registry).write(Entry::ForgetTopic {
            topic: topic.to_owned(),
        })
    }

    /// Does what is due at each deadline; runs until it is dropped.
    pub async fn keep_time(&self) {
        loop {
            let next = {
                let mut registry = lock(&self.registry);
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

    pub fn sync_journal(&self) -> io::Result<()> {
        lock(&self.registry).journal.sync()
    }
}
