//! Rebalancing: from one generation to the next, with its members, leader and protocol.

use super::{
    machine::{Gathering, Group, State},
    member::{Answer, Member, Refused},
};
use bytes::Bytes;
use std::collections::BTreeMap;

impl Group {
    /// The next time at which [`Self::tick`] has work.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        let members = self
            .members
            .values()
            .filter(|m| !m.is_waiting())
            .map(|m| m.expires_ms);
        members
            .chain(self.pending.values().copied())
            .chain(self.join_deadline)
            .chain(self.sync_deadline)
            .min()
    }

    /// Handles expired members and deadlines.
    pub(crate) fn tick(&mut self, now: i64, out: &mut Vec<Answer>) {
        self.pending.retain(|_, until| *until > now);
        let dead: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| m.expires_ms <= now && !m.is_waiting())
            .map(|(id, _)| id.clone())
            .collect();
        for id in &dead {
            self.remove(id, out);
        }
        if !dead.is_empty() {
            self.after_removal(now, out);
        }
        if self.sync_deadline.is_some_and(|at| at <= now) {
            self.expire_syncs(now, out);
        }
        if self.join_deadline.is_some_and(|at| at <= now) {
            self.join_time_is_up(now, out);
        } else {
            self.complete_if_all_joined(now, out);
        }
    }

    pub(super) fn expire_syncs(&mut self, now: i64, out: &mut Vec<Answer>) {
        self.sync_deadline = None;
        let late: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| m.owes_sync)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &late {
            self.remove(id, out);
        }
        if !late.is_empty() && matches!(self.state, State::CompletingRebalance | State::Stable) {
            self.prepare(now, out);
        }
    }

    pub(super) fn join_time_is_up(&mut self, now: i64, out: &mut Vec<Answer>) {
        if let Some(gathering) = &mut self.gathering
            && gathering.newcomer
            && gathering.left_ms > 0
        {
            let wait = self.initial_delay_ms.min(gathering.left_ms);
            *gathering = Gathering {
                left_ms: gathering.left_ms - wait,
                newcomer: false,
            };
            self.join_deadline = Some(now + wait);
            return;
        }
        self.complete_join(now, out);
    }

    pub(super) fn remove(&mut self, id: &str, out: &mut Vec<Answer>) {
        let Some(mut member) = self.members.remove(id) else {
            return;
        };
        fail(&mut member, "", Refused::UnknownMemberId, out);
        if let Some(instance) = &member.instance
            && self
                .statics
                .get(instance)
                .is_some_and(|current| current == id)
        {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    pub(super) fn after_removal(&mut self, now: i64, out: &mut Vec<Answer>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare(now, out),
            State::PreparingRebalance => self.complete_if_all_joined(now, out),
            State::Empty => {}
        }
    }

    pub(super) fn rebalance_or_complete(&mut self, now: i64, out: &mut Vec<Answer>) {
        if self.state == State::PreparingRebalance {
            self.complete_if_all_joined(now, out);
        } else {
            self.prepare(now, out);
        }
    }

    pub(super) fn prepare(&mut self, now: i64, out: &mut Vec<Answer>) {
        for member in self.members.values_mut() {
            member.owes_sync = false;
            if self.state == State::CompletingRebalance {
                member.assignment = Bytes::new();
                if let Some(ticket) = member.awaiting_sync.take() {
                    member.touch(now);
                    out.push(Answer::Sync(ticket, Err(Refused::RebalanceInProgress)));
                }
            }
        }
        self.sync_deadline = None;
        let first = self.state == State::Empty && self.initial_delay_ms > 0;
        self.state = State::PreparingRebalance;
        let timeout = self.rebalance_timeout();
        if first {
            let left_ms = (timeout - self.initial_delay_ms).max(0);
            self.gathering = Some(Gathering {
                left_ms,
                newcomer: false,
            });
            self.join_deadline = Some(now + self.initial_delay_ms);
        } else {
            self.join_deadline = Some(now.saturating_add(timeout));
            self.complete_if_all_joined(now, out);
        }
    }

    pub(super) fn rebalance_timeout(&self) -> i64 {
        self.members
            .values()
            .map(|m| m.rebalance_timeout_ms)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn complete_if_all_joined(&mut self, now: i64, out: &mut Vec<Answer>) {
        let all =
            self.members.values().all(|m| m.awaiting_join.is_some()) && self.pending.is_empty();
        if self.state == State::PreparingRebalance && self.gathering.is_none() && all {
            self.complete_join(now, out);
        }
    }

    /// Starts the next generation with the members that joined; static members are kept even if they did not.
    pub(super) fn complete_join(&mut self, now: i64, out: &mut Vec<Answer>) {
        self.gathering = None;
        self.join_deadline = None;
        let late: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| m.awaiting_join.is_none() && m.instance.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in &late {
            self.remove(id, out);
        }
        let joined = |m: &Member| m.awaiting_join.is_some();
        let leader_joined = self
            .leader
            .as_ref()
            .and_then(|id| self.members.get(id))
            .is_some_and(joined);
        if !leader_joined {
            match self.members.iter().find(|(_, m)| joined(m)) {
                Some((id, _)) => self.leader = Some(id.clone()),
                None if !self.members.is_empty() => {
                    self.join_deadline = Some(now.saturating_add(self.rebalance_timeout()));
                    return;
                }
                None => self.leader = None,
            }
        }
        self.generation += 1;
        self.protocol = self.elect_protocol();
        if self.members.is_empty() {
            self.state = State::Empty;
            return;
        }
        self.state = State::CompletingRebalance;
        self.sync_deadline = Some(now.saturating_add(self.rebalance_timeout()));
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, self.leader.as_deref() == Some(&id));
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.owes_sync = true;
            member.is_new = false;
            member.touch(now);
            if let Some(ticket) = member.awaiting_join.take() {
                out.push(Answer::Join(ticket, Ok(joined)));
            }
        }
    }

    /// Each member votes for the first of its protocols that all members have; the most votes win.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let everyone_has = |name: &str| {
            self.members
                .values()
                .all(|m| m.protocols.iter().any(|p| p.name == name))
        };
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(|p| everyone_has(&p.name)) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|&(_, count)| count)
            .map(|(name, _)| name.to_owned())
    }
}

/// Answers the member's waiting requests with an error.
pub(super) fn fail(member: &mut Member, told_id: &str, refused: Refused, out: &mut Vec<Answer>) {
    if let Some(ticket) = member.awaiting_join.take() {
        out.push(Answer::Join(ticket, Err((refused, told_id.to_owned()))));
    }
    if let Some(ticket) = member.awaiting_sync.take() {
        out.push(Answer::Sync(ticket, Err(refused)));
    }
}
