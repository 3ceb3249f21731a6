//! The group machine under a hand-held clock.

use super::{
    machine::{Group, State},
    member::{Answer, Join, Joined, Protocol, Refused, Sync, Ticket},
};
use bytes::Bytes;

/// A group whose requests get numbers and whose answers are collected.
struct Rig {
    group: Group,
    now: i64,
    tickets: u64,
    answers: Vec<Answer>,
}

impl Rig {
    fn new(initial_delay_ms: i64) -> Self {
        Self {
            group: Group::new(initial_delay_ms),
            now: 0,
            tickets: 0,
            answers: Vec::new(),
        }
    }

    fn request(&self, member_id: &str) -> Join {
        let protocol = |name: &str| Protocol {
            name: name.into(),
            metadata: Bytes::from_static(b"m"),
        };
        Join {
            member_id: member_id.into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 1000,
            rebalance_timeout_ms: 5000,
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range"), protocol("sticky")],
            needs_known_id: false,
            may_skip_assignment: true,
        }
    }

    /// Joins under the id given to a new member, `new`.
    fn join(&mut self, join: Join, new: &str) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.group
            .join(self.now, ticket, join, || new.to_owned(), &mut self.answers);
        ticket
    }

    fn sync(&mut self, member_id: &str, assignments: &[(&str, &'static str)]) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let assignments = assignments
            .iter()
            .map(|&(id, a)| (id.to_owned(), Bytes::from_static(a.as_bytes())))
            .collect();
        let sync = Sync {
            member_id: member_id.into(),
            generation: self.group.generation,
            assignments,
            ..Sync::default()
        };
        self.group.sync(self.now, ticket, sync, &mut self.answers);
        ticket
    }

    fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.group.next_deadline().filter(|&at| at <= until) {
            self.now = at;
            self.group.tick(self.now, &mut self.answers);
        }
        self.now = until;
    }

    fn joined(&mut self, ticket: Ticket) -> Option<Result<Joined, (Refused, String)>> {
        let at = self
            .answers
            .iter()
            .position(|a| matches!(a, Answer::Join(t, _) if *t == ticket))?;
        match self.answers.remove(at) {
            Answer::Join(_, joined) => Some(joined),
            Answer::Sync(..) => None,
        }
    }

    fn assignment(&mut self, ticket: Ticket) -> Option<Result<Bytes, Refused>> {
        let at = self
            .answers
            .iter()
            .position(|a| matches!(a, Answer::Sync(t, _) if *t == ticket))?;
        match self.answers.remove(at) {
            Answer::Sync(_, synced) => Some(synced.map(|s| s.assignment)),
            Answer::Join(..) => None,
        }
    }

    /// Two members, `a` leading, with an assignment.
    fn stable(mut self) -> Self {
        let a = self.join(self.request(""), "a");
        self.joined(a).unwrap().unwrap();
        let b = self.join(self.request(""), "b");
        assert!(self.joined(b).is_none(), "b waits for a to rejoin");
        let a = self.join(self.request("a"), "");
        assert_eq!(self.joined(a).unwrap().unwrap().members.len(), 2);
        assert!(self.joined(b).unwrap().unwrap().members.is_empty());
        let b = self.sync("b", &[]);
        assert!(
            self.assignment(b).is_none(),
            "b waits for the leader's assignment"
        );
        let a = self.sync("a", &[("a", "1"), ("b", "2")]);
        assert_eq!(self.assignment(a), Some(Ok(Bytes::from_static(b"1"))));
        assert_eq!(self.assignment(b), Some(Ok(Bytes::from_static(b"2"))));
        assert_eq!(self.group.state, State::Stable);
        self
    }
}

#[test]
fn two_members_share_a_generation() {
    let rig = Rig::new(0).stable();
    assert_eq!(rig.group.generation, 2);
    assert_eq!(rig.group.protocol.as_deref(), Some("range"));
}

#[test]
fn a_new_member_is_told_its_id_first() {
    let mut rig = Rig::new(0);
    let join = Join {
        needs_known_id: true,
        ..rig.request("")
    };
    let ticket = rig.join(join, "a");
    assert_eq!(
        rig.joined(ticket),
        Some(Err((Refused::MemberIdRequired, "a".into())))
    );
    let ticket = rig.join(rig.request("a"), "");
    assert_eq!(rig.joined(ticket).unwrap().unwrap().leader, "a");
    let ticket = rig.join(rig.request("stranger"), "");
    assert_eq!(
        rig.joined(ticket),
        Some(Err((Refused::UnknownMemberId, "stranger".into())))
    );
}

#[test]
fn a_silent_member_is_removed_and_the_others_rebalance() {
    let mut rig = Rig::new(0).stable();
    for _ in 0..4 {
        rig.pass(300);
        let _ = rig.group.heartbeat(rig.now, "a", None, 2);
    }
    assert_eq!(rig.group.state, State::PreparingRebalance);
    assert_eq!(
        rig.group.heartbeat(rig.now, "a", None, 2),
        Err(Refused::RebalanceInProgress)
    );
    assert_eq!(
        rig.group.heartbeat(rig.now, "b", None, 2),
        Err(Refused::UnknownMemberId)
    );
    let a = rig.join(rig.request("a"), "");
    assert_eq!(rig.joined(a).unwrap().unwrap().generation, 3);
}

#[test]
fn whoever_does_not_rejoin_in_time_is_out() {
    let mut rig = Rig::new(0).stable();
    let c = rig.join(rig.request(""), "c");
    for _ in 0..20 {
        rig.pass(250);
        let _ = rig.group.heartbeat(rig.now, "a", None, 2);
        let _ = rig.group.heartbeat(rig.now, "b", None, 2);
    }
    let joined = rig.joined(c).unwrap().unwrap();
    assert_eq!(
        (
            joined.generation,
            joined.leader.as_str(),
            joined.members.len()
        ),
        (3, "c", 1)
    );
}

#[test]
fn whoever_owes_its_sync_too_long_is_out() {
    let mut rig = Rig::new(0);
    let a = rig.join(
        Join {
            session_timeout_ms: 60_000,
            ..rig.request("")
        },
        "a",
    );
    rig.joined(a).unwrap().unwrap();
    assert_eq!(rig.group.state, State::CompletingRebalance);
    rig.pass(5001);
    assert_eq!(
        (rig.group.state, rig.group.members.len()),
        (State::Empty, 0)
    );
}

#[test]
fn leaving_hands_over_at_once() {
    let mut rig = Rig::new(0).stable();
    rig.group
        .leave(rig.now, "a", None, &mut rig.answers)
        .unwrap();
    assert_eq!(rig.group.leader.as_deref(), Some("b"));
    let b = rig.join(rig.request("b"), "");
    assert_eq!(rig.joined(b).unwrap().unwrap().members.len(), 1);
    rig.group
        .leave(rig.now, "b", None, &mut rig.answers)
        .unwrap();
    assert_eq!(rig.group.state, State::Empty);
    assert_eq!(
        rig.group.leave(rig.now, "b", None, &mut rig.answers),
        Err(Refused::UnknownMemberId)
    );
}

#[test]
fn a_static_member_takes_its_place_back_and_fences_its_ghost() {
    let mut rig = Rig::new(0);
    let statically = |rig: &Rig| Join {
        instance: Some("one".into()),
        ..rig.request("")
    };
    let join = statically(&rig);
    let old = rig.join(join, "old");
    rig.joined(old).unwrap().unwrap();
    rig.sync("old", &[("old", "all")]);
    let join = statically(&rig);
    let new = rig.join(join, "new");
    let joined = rig.joined(new).unwrap().unwrap();
    assert_eq!(
        (joined.generation, joined.skip_assignment),
        (1, true),
        "no new generation"
    );
    let sync = rig.sync("new", &[]);
    assert_eq!(rig.assignment(sync), Some(Ok(Bytes::from_static(b"all"))));
    assert_eq!(
        rig.group.heartbeat(rig.now, "old", Some("one"), 1),
        Err(Refused::FencedInstanceId)
    );
    assert_eq!(
        rig.group.check_commit("old", Some("one"), 1, true),
        Err(Refused::FencedInstanceId)
    );
}

#[test]
fn commits_are_checked_against_member_and_generation() {
    let rig = Rig::new(0).stable();
    let check = |id: &str, generation, transactional| {
        rig.group.check_commit(id, None, generation, transactional)
    };
    assert_eq!(check("a", 2, true), Ok(()));
    assert_eq!(check("a", 1, true), Err(Refused::IllegalGeneration));
    assert_eq!(check("z", 2, true), Err(Refused::UnknownMemberId));
    assert_eq!(check("", -1, false), Err(Refused::UnknownMemberId));
    assert_eq!(
        check("", -1, true),
        Ok(()),
        "old producers don't say who they are"
    );
}

#[test]
fn a_first_rebalance_waits_for_more_members() {
    let mut rig = Rig::new(100);
    let a = rig.join(rig.request(""), "a");
    rig.pass(50);
    let b = rig.join(rig.request(""), "b");
    rig.pass(60);
    assert!(rig.joined(a).is_none(), "a newcomer prolongs the wait");
    rig.pass(100);
    assert_eq!(rig.joined(a).unwrap().unwrap().members.len(), 2);
    assert_eq!(rig.joined(b).unwrap().unwrap().generation, 1);
}

#[test]
fn members_without_a_common_protocol_stay_out() {
    let mut rig = Rig::new(0).stable();
    let mut join = rig.request("");
    join.protocols = vec![Protocol {
        name: "other".into(),
        metadata: Bytes::new(),
    }];
    let ticket = rig.join(join, "c");
    assert!(matches!(
        rig.joined(ticket),
        Some(Err((Refused::InconsistentGroupProtocol, _)))
    ));
}
