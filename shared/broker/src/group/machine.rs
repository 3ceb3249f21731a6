//! The life of one consumer group in the classic protocol: a state machine without sockets or clocks.
//!
//! Every call brings the time and collects answers: to the request itself and to others that waited for it. The rules are
//! those of Kafka's group coordinator (`GroupMetadataManager.classicGroup…`).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::member::{Answer, Join, Joined, Member, Refused, Synced, Ticket};
use super::rebalance::fail;

/// How long a member may wait for its first rebalance (Kafka's five minutes).
const NEW_MEMBER_TIMEOUT_MS: i64 = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    /// As `DescribeGroups` and `ListGroups` spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The first rebalance of an empty group, which waits a while for further members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathering {
    pub(super) left_ms: i64,
    pub(super) newcomer: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Group {
    pub state: State,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: BTreeMap<String, Member>,
    pub(super) statics: HashMap<String, String>,
    /// Told their id, awaited with it: when each is given up.
    pub(super) pending: BTreeMap<String, i64>,
    pub(super) join_deadline: Option<i64>,
    pub(super) sync_deadline: Option<i64>,
    pub(super) gathering: Option<Gathering>,
    pub(super) initial_delay_ms: i64,
}

impl Group {
    pub fn new(initial_delay_ms: i64) -> Self {
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

    /// Takes back a stable generation after a restart.
    pub fn restore(&mut self, member_id: String, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member_id.clone());
        }
        self.members.insert(member_id, member);
        self.state = State::Stable;
    }

    pub fn join(
        &mut self,
        now: i64,
        ticket: Ticket,
        join: Join,
        new_id: impl FnOnce() -> String,
        out: &mut Vec<Answer>,
    ) {
        let refuse = |refused, id: &str| Answer::Join(ticket, Err((refused, id.to_owned())));
        if !self.supports(&join) {
            out.push(refuse(Refused::InconsistentGroupProtocol, &join.member_id));
        } else if join.member_id.is_empty() {
            let id = new_id();
            match join
                .instance
                .as_ref()
                .and_then(|i| self.statics.get(i))
                .cloned()
            {
                Some(old) => self.replace_static(now, ticket, &old, id, &join, out),
                None if join.instance.is_none() && join.needs_known_id => {
                    self.pending
                        .insert(id.clone(), now.saturating_add(join.session_timeout_ms));
                    out.push(refuse(Refused::MemberIdRequired, &id));
                }
                None => self.add(now, ticket, id, &join, out),
            }
        } else if self.pending.remove(&join.member_id).is_some() {
            self.add(now, ticket, join.member_id.clone(), &join, out);
        } else if let Err(refused) = self.validate(&join.member_id, join.instance.as_deref()) {
            out.push(refuse(refused, &join.member_id));
        } else {
            self.rejoin(now, ticket, &join, out);
        }
    }

    pub(super) fn rejoin(&mut self, now: i64, ticket: Ticket, join: &Join, out: &mut Vec<Answer>) {
        let Some(member) = self.members.get(&join.member_id) else {
            return;
        };
        let unchanged = member.protocols == join.protocols;
        let is_leader = self.leader.as_deref() == Some(&join.member_id);
        let keeps = match self.state {
            State::CompletingRebalance => unchanged,
            State::Stable => unchanged && !is_leader,
            State::Empty | State::PreparingRebalance => false,
        };
        if keeps {
            let joined = self.joined(&join.member_id, is_leader);
            out.push(Answer::Join(ticket, Ok(joined)));
        } else {
            self.update(ticket, &join.member_id, join);
            self.rebalance_or_complete(now, out);
        }
    }

    pub(super) fn update(&mut self, ticket: Ticket, id: &str, join: &Join) {
        if let Some(member) = self.members.get_mut(id) {
            member.protocols.clone_from(&join.protocols);
            member.session_timeout_ms = join.session_timeout_ms;
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.awaiting_join = Some(ticket);
        }
    }

    pub(super) fn add(
        &mut self,
        now: i64,
        ticket: Ticket,
        id: String,
        join: &Join,
        out: &mut Vec<Answer>,
    ) {
        let mut member = Member::new(join);
        member.awaiting_join = Some(ticket);
        member.expires_ms = now.saturating_add(NEW_MEMBER_TIMEOUT_MS);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if let Some(gathering) = &mut self.gathering {
            gathering.newcomer = true;
        }
        self.leader.get_or_insert_with(|| id.clone());
        if let Some(instance) = &join.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members.insert(id, member);
        self.rebalance_or_complete(now, out);
    }

    /// A static member that restarted takes its predecessor's place, in a stable group without a rebalance.
    pub(super) fn replace_static(
        &mut self,
        now: i64,
        ticket: Ticket,
        old: &str,
        id: String,
        join: &Join,
        out: &mut Vec<Answer>,
    ) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        fail(&mut member, old, Refused::FencedInstanceId, out);
        let was_leader = self.leader.as_deref() == Some(old);
        if was_leader {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &join.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        member.touch(now);
        self.members.insert(id.clone(), member);
        self.update(ticket, &id, join);
        match self.state {
            State::Stable if self.protocol == self.elect_protocol() => {
                let mut joined = self.joined(&id, was_leader && join.may_skip_assignment);
                joined.skip_assignment = was_leader && join.may_skip_assignment;
                if was_leader && !join.may_skip_assignment {
                    // An older client that led would assign anew if it were told that it leads.
                    old.clone_into(&mut joined.leader);
                }
                if let Some(member) = self.members.get_mut(&id) {
                    member.awaiting_join = None;
                    member.touch(now);
                }
                out.push(Answer::Join(ticket, Ok(joined)));
            }
            State::Stable | State::CompletingRebalance => self.prepare(now, out),
            State::Empty | State::PreparingRebalance => self.complete_if_all_joined(now, out),
        }
    }

    pub fn sync(&mut self, now: i64, ticket: Ticket, sync: Sync, out: &mut Vec<Answer>) {
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

    pub fn heartbeat(
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

    /// A member goes of its own will; by its instance where its id is empty.
    pub fn leave(
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

    /// Whether a commit of offsets in the name of this member is right.
    pub fn check_commit(
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

    /// A commit shows that its member lives.
    pub fn touch(&mut self, now: i64, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
    }

    /// The member exists, and where it is static it is the one its instance stands for.
    pub fn validate(&self, member_id: &str, instance: Option<&str>) -> Result<(), Refused> {
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

    pub(super) fn supports(&self, join: &Join) -> bool {
        if self.members.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let everyone_has = |name: &str| {
            self.members
                .values()
                .all(|m| m.protocols.iter().any(|p| p.name == name))
        };
        self.protocol_type.as_deref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|p| everyone_has(&p.name))
    }

    pub(super) fn joined(&self, id: &str, with_members: bool) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let listed =
            |(id, m): (&String, &Member)| (id.clone(), m.instance.clone(), m.metadata(&protocol));
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.to_owned(),
            members: if with_members {
                self.members.iter().map(listed).collect()
            } else {
                Vec::new()
            },
            skip_assignment: false,
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

/// What a client asks when it wants its assignment, or brings everyone's.
#[derive(Debug, Clone, Default)]
pub struct Sync {
    pub member_id: String,
    pub instance: Option<String>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}
