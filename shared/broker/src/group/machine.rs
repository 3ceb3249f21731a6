//! The state machine of one consumer group in the classic protocol, without sockets or clocks.
//!
//! Every call gets the time and returns replies: to its request and to others that waited for it. The rules are those of
//! Kafka's group coordinator (`GroupMetadataManager.classicGroup…`).

use super::member::{Answer, Member, Refused, Sync, Synced, Ticket};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    /// As `DescribeGroups` and `ListGroups` spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The first rebalance of an empty group, which waits for further members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathering {
    pub(super) left_ms: i64,
    pub(super) newcomer: bool,
}

/// One consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub state: State,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: BTreeMap<String, Member>,
    pub(super) statics: HashMap<String, String>,
    /// Members that were told their id and have not joined with it, with the time at which each is forgotten.
    pub(super) pending: BTreeMap<String, i64>,
    pub(super) join_deadline: Option<i64>,
    pub(super) sync_deadline: Option<i64>,
    pub(super) gathering: Option<Gathering>,
    pub(super) initial_delay_ms: i64,
}

impl Group {
    pub(crate) fn new(initial_delay_ms: i64) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: HashMap::new(),
            pending: BTreeMap::new(),
            join_deadline: None,
            sync_deadline: None,
            gathering: None,
            initial_delay_ms,
        }
    }

    /// Restores a member of a stable generation after a restart.
    pub(crate) fn restore(&mut self, member_id: String, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member_id.clone());
        }
        self.members.insert(member_id, member);
        self.state = State::Stable;
    }

    pub(crate) fn sync(&mut self, now: i64, ticket: Ticket, sync: Sync, out: &mut Vec<Answer>) {
        if let Err(refused) = self.check_sync(&sync) {
            out.push(Answer::Sync(ticket, Err(refused)));
            return;
        }
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return;
        };
        member.owes_sync = false;
        if self.state == State::Stable {
            member.touch(now);
            let assignment = member.assignment.clone();
            out.push(Answer::Sync(ticket, Ok(self.synced(assignment))));
            return;
        }
        member.awaiting_sync = Some(ticket);
        if self.leader.as_deref() == Some(&sync.member_id) {
            let mut assignments: HashMap<_, _> = sync.assignments.into_iter().collect();
            for (id, member) in &mut self.members {
                member.assignment = assignments.remove(id).unwrap_or_default();
            }
            self.state = State::Stable;
            let ids: Vec<_> = self.members.keys().cloned().collect();
            for id in ids {
                let Some(member) = self.members.get_mut(&id) else {
                    continue;
                };
                let Some(waiting) = member.awaiting_sync.take() else {
                    continue;
                };
                member.touch(now);
                let assignment = member.assignment.clone();
                out.push(Answer::Sync(waiting, Ok(self.synced(assignment))));
            }
        }
        self.clear_sync_deadline_if_paid();
    }

    pub(super) fn check_sync(&self, sync: &Sync) -> Result<(), Refused> {
        self.validate(&sync.member_id, sync.instance.as_deref())?;
        let differs =
            |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if sync.generation != self.generation {
            Err(Refused::IllegalGeneration)
        } else if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            Err(Refused::InconsistentGroupProtocol)
        } else if self.state == State::PreparingRebalance {
            Err(Refused::RebalanceInProgress)
        } else if self.state == State::Empty {
            Err(Refused::UnknownMemberId)
        } else {
            Ok(())
        }
    }

    pub(super) fn clear_sync_deadline_if_paid(&mut self) {
        if self.state == State::Stable && !self.members.values().any(|m| m.owes_sync) {
            self.sync_deadline = None;
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        now: i64,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), Refused> {
        self.validate(member_id, instance)?;
        if generation != self.generation {
            return Err(Refused::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
        match self.state {
            State::PreparingRebalance => Err(Refused::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Removes a member at its request; by its instance id if the member id is empty.
    pub(crate) fn leave(
        &mut self,
        now: i64,
        member_id: &str,
        instance: Option<&str>,
        out: &mut Vec<Answer>,
    ) -> Result<(), Refused> {
        let id = if member_id.is_empty() {
            instance
                .and_then(|i| self.statics.get(i))
                .cloned()
                .ok_or(Refused::UnknownMemberId)?
        } else if self.pending.remove(member_id).is_some() {
            self.complete_if_all_joined(now, out);
            return Ok(());
        } else {
            self.validate(member_id, instance)?;
            member_id.to_owned()
        };
        self.remove(&id, out);
        self.after_removal(now, out);
        Ok(())
    }

    /// Whether this member may commit offsets now.
    pub(crate) fn check_commit(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        transactional: bool,
    ) -> Result<(), Refused> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance.is_some() {
            self.validate(member_id, instance)?;
            if generation != self.generation {
                return Err(Refused::IllegalGeneration);
            }
        } else if !transactional && self.state != State::Empty {
            return Err(Refused::UnknownMemberId);
        }
        if !transactional && self.state == State::CompletingRebalance {
            return Err(Refused::RebalanceInProgress);
        }
        Ok(())
    }

    /// Extends the member's session, as a commit does.
    pub(crate) fn touch(&mut self, now: i64, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
    }

    /// Checks that the member exists and, if it is static, is the current one of its instance id.
    pub(crate) fn validate(&self, member_id: &str, instance: Option<&str>) -> Result<(), Refused> {
        if let Some(instance) = instance {
            let current = self.statics.get(instance).ok_or(Refused::UnknownMemberId)?;
            if current != member_id {
                return Err(Refused::FencedInstanceId);
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(Refused::UnknownMemberId)
        }
    }

    pub(super) fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }
}
