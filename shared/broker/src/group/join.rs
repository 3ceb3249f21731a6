//! Joining a group: new members, members that rejoin, static members that restarted.

use super::{
    machine::{Group, State},
    member::{Answer, Join, Joined, Member, Refused, Ticket},
    rebalance::fail,
};

/// Milliseconds that a member may wait for its first rebalance (five minutes in Kafka).
const NEW_MEMBER_TIMEOUT_MS: i64 = 300_000;

impl Group {
    pub(crate) fn join(
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

    fn rejoin(&mut self, now: i64, ticket: Ticket, join: &Join, out: &mut Vec<Answer>) {
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

    fn update(&mut self, ticket: Ticket, id: &str, join: &Join) {
        if let Some(member) = self.members.get_mut(id) {
            member.protocols.clone_from(&join.protocols);
            member.session_timeout_ms = join.session_timeout_ms;
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.awaiting_join = Some(ticket);
        }
    }

    fn add(&mut self, now: i64, ticket: Ticket, id: String, join: &Join, out: &mut Vec<Answer>) {
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

    /// A static member that restarted replaces its predecessor; in a stable group without a rebalance.
    fn replace_static(
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
                    // An older client would compute a new assignment if the reply named it as the leader.
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

    fn supports(&self, join: &Join) -> bool {
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
}
