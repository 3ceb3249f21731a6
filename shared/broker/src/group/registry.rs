//! The data under the groups' lock: groups, offsets, journal and waiting requests.

use super::{
    machine::{Group, State},
    member::{Answer, Joined, Refused, Synced, Ticket},
    offsets::Offsets,
    record::{Entry, Generation},
};
use crate::journal::Journal;
use std::{collections::HashMap, io};
use tokio::sync::oneshot;

/// A request whose reply depends on other members.
#[derive(Debug)]
pub(super) enum Waiting {
    Join(oneshot::Sender<Result<Joined, (Refused, String)>>),
    Sync(oneshot::Sender<Result<Synced, Refused>>),
}

/// All groups and their offsets.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) groups: HashMap<String, Group>,
    pub(super) offsets: Offsets,
    pub(super) waiting: HashMap<Ticket, Waiting>,
    pub(super) tickets: u64,
    pub(super) journal: Journal,
}

impl Registry {
    pub(super) fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        // Drops requests whose client has reconnected.
        self.waiting.retain(|_, waiting| match waiting {
            Waiting::Join(sender) => !sender.is_closed(),
            Waiting::Sync(sender) => !sender.is_closed(),
        });
        self.waiting.insert(ticket, waiting);
        ticket
    }

    pub(super) fn change(
        &mut self,
        group_id: &str,
        change: impl FnOnce(&mut Group, &mut Vec<Answer>),
    ) {
        let mut out = Vec::new();
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        let before = (group.state, group.generation);
        change(group, &mut out);
        let emptied = group.state == State::Empty && before != (State::Empty, group.generation);
        let replaced =
            group.state == State::Stable && out.iter().any(|a| matches!(a, Answer::Join(_, Ok(_))));
        if emptied || replaced {
            let entry = Entry::Generation {
                group: group_id.to_owned(),
                state: Generation::of(group),
            };
            if let Err(error) = self.journal.append(&entry.encode()) {
                tracing::error!(group = group_id, %error, "can't note a group's members");
            }
        }
        self.deliver(out);
    }

    pub(super) fn deliver(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            // A client that no longer waits is no error: it retries.
            match answer {
                Answer::Join(ticket, joined) => {
                    if let Some(Waiting::Join(sender)) = self.waiting.remove(&ticket) {
                        let _ = sender.send(joined);
                    }
                }
                Answer::Sync(ticket, synced) => {
                    if let Some(Waiting::Sync(sender)) = self.waiting.remove(&ticket) {
                        let _ = sender.send(synced);
                    }
                }
            }
        }
    }

    pub(super) fn write(&mut self, entry: Entry) -> io::Result<()> {
        self.journal.append(&entry.encode())?;
        entry.apply(&mut self.offsets);
        if self.journal.wants_rewrite() {
            let snapshot = self.snapshot();
            self.journal.rewrite(snapshot)?;
        }
        Ok(())
    }

    pub(super) fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for (name, group) in &self.groups {
            if matches!(group.state, State::Stable | State::Empty) {
                out.push(
                    Entry::Generation {
                        group: name.clone(),
                        state: Generation::of(group),
                    }
                    .encode(),
                );
            }
        }
        for name in self.offsets.groups() {
            let offsets = self
                .offsets
                .of_group(name)
                .map(|(partition, c)| (partition.clone(), c.clone()))
                .collect();
            out.push(
                Entry::Commit {
                    group: name.clone(),
                    offsets,
                }
                .encode(),
            );
        }
        for (producer_id, group, partition, c) in self.offsets.pending() {
            let offsets = vec![(partition.clone(), c.clone())];
            out.push(
                Entry::Prepare {
                    producer_id,
                    group: group.clone(),
                    offsets,
                }
                .encode(),
            );
        }
        out
    }
}
