//! A member of a classic group, request by request.

use crate::{
    broker::{bootstrap, topic},
    raw::{Code, code, group_id, settled, text, topic_name},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, SyncGroupRequest,
        consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition},
        join_group_request::JoinGroupRequestProtocol,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::Encodable,
};
use sightline_testkit::{
    unique,
    wire::{Connection, Coordinates, coordinator},
};

/// A member that has joined. It sends no heartbeats and does not leave by itself.
pub struct Member {
    pub id: String,
    pub generation: i32,
    group: String,
    connection: Connection,
}

fn versioned(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    message.encode(&mut bytes, 0).unwrap();
    bytes.freeze()
}

/// JoinGroup with the range protocol and the shortest session that Kafka grants by default.
fn join(connection: &mut Connection, group: &str, member: &str, topic: &str) -> JoinGroupResponse {
    let metadata = ConsumerProtocolSubscription::default().with_topics(vec![text(topic)]);
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(versioned(&metadata));
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    connection.call(&request, 5).unwrap()
}

impl Member {
    /// The only member of a new group, with partition 0 assigned.
    #[track_caller]
    pub fn alone(group: &str, topic: &str) -> Self {
        let mut connection = coordinator(bootstrap(), Coordinates::Group, group);
        let (error, first) = settled("JoinGroup", || {
            connection = coordinator(bootstrap(), Coordinates::Group, group);
            let answer = join(&mut connection, group, "", topic);
            (code(answer.error_code), answer)
        });
        assert_eq!(error, Some(ResponseError::MemberIdRequired));
        let joined = join(&mut connection, group, &first.member_id, topic);
        assert_eq!(code(joined.error_code), None);
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        let mut member = Self {
            id: joined.member_id.to_string(),
            generation: joined.generation_id,
            group: group.to_owned(),
            connection,
        };
        assert_eq!(member.sync(topic), None);
        member
    }

    fn sync(&mut self, topic: &str) -> Code {
        let owned = TopicPartition::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![0]);
        let assignment =
            ConsumerProtocolAssignment::default().with_assigned_partitions(vec![owned]);
        let assignment = versioned(&assignment);
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(vec![
                SyncGroupRequestAssignment::default()
                    .with_member_id(text(&self.id))
                    .with_assignment(assignment.clone()),
            ]);
        let answer = self.connection.call(&request, 3).unwrap();
        if answer.error_code == 0 {
            assert_eq!(answer.assignment, assignment);
        }
        code(answer.error_code)
    }

    pub fn heartbeat(&mut self, member: &str, generation: i32) -> Code {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(generation)
            .with_member_id(text(member));
        code(self.connection.call(&request, 3).unwrap().error_code)
    }

    fn leave(&mut self, member: &str) -> Code {
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_member_id(text(member));
        code(self.connection.call(&request, 1).unwrap().error_code)
    }
}

#[test]
fn heartbeats_are_checked_for_member_and_generation() {
    let topic = topic(1, &[]);
    let mut member = Member::alone(&unique("group"), &topic);
    let (id, generation) = (member.id.clone(), member.generation);
    assert_eq!(generation, 1);
    assert_eq!(member.heartbeat(&id, generation), None);
    let stranger = Some(ResponseError::UnknownMemberId);
    assert_eq!(member.heartbeat("stranger", generation), stranger);
    let stale = Some(ResponseError::IllegalGeneration);
    assert_eq!(member.heartbeat(&id, generation + 1), stale);
    assert_eq!(member.leave("stranger"), stranger);
    assert_eq!(member.leave(&id), None);
    assert_eq!(member.heartbeat(&id, generation), stranger);
}

#[test]
fn a_joining_member_makes_the_others_rejoin() {
    let topic = topic(1, &[]);
    let group = unique("group");
    let mut first = Member::alone(&group, &topic);
    let (id, generation) = (first.id.clone(), first.generation);
    let mut connection = coordinator(bootstrap(), Coordinates::Group, &group);
    let given = join(&mut connection, &group, "", &topic)
        .member_id
        .to_string();
    let second = {
        let (group, topic, given) = (group.clone(), topic.clone(), given.clone());
        std::thread::spawn(move || join(&mut connection, &group, &given, &topic))
    };
    sightline_testkit::eventually("a rebalance", || {
        let beat = first.heartbeat(&id, generation);
        (beat == Some(ResponseError::RebalanceInProgress)).then_some(())
    });
    let joined = join(&mut first.connection, &group, &id, &topic);
    let other = second.join().unwrap();
    assert_eq!(code(joined.error_code), None);
    assert_eq!(code(other.error_code), None);
    assert_eq!(joined.generation_id, generation + 1);
    assert_eq!(other.generation_id, generation + 1);
    assert_eq!(joined.leader.as_str(), id);
    assert_eq!((joined.members.len(), other.members.len()), (2, 0));
}
