//! Committed offsets: plain ones are visible at once, transactional ones at the commit. Only members of the current
//! generation may commit.

use crate::{
    broker::{LIMIT, bootstrap, topic, transactional},
    members::Member,
    raw::{
        Code, Identity, add_offsets, code, end, group_id, init, settled, text, topic_name,
        transactional_id,
    },
};
use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetFetchRequest, ProducerId, TxnOffsetCommitRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    producer::Producer as _,
};
use sightline_testkit::{
    consumer, eventually, unique,
    wire::{Coordinates, coordinator},
};

/// TxnOffsetCommit for partition 0, from a member of the group or without a member.
#[track_caller]
pub fn txn_offset_commit(
    id: &str,
    identity: Identity,
    group: &str,
    member: Option<(&str, i32)>,
    topic: &str,
    offset: i64,
) -> Code {
    let (member, generation) = member.unwrap_or(("", -1));
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("")));
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_group_id(group_id(group))
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_topics(vec![
            TxnOffsetCommitRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition]),
        ]);
    settled("TxnOffsetCommit", || {
        let mut connection = coordinator(bootstrap(), Coordinates::Group, group);
        let answer = connection.call(&request, 3).unwrap();
        (code(answer.topics[0].partitions[0].error_code), ())
    })
    .0
}

/// OffsetCommit for partition 0.
#[track_caller]
fn offset_commit(group: &str, member: Option<(&str, i32)>, topic: &str, offset: i64) -> Code {
    let (member, generation) = member.unwrap_or(("", -1));
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("noted")));
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition]),
        ]);
    settled("OffsetCommit", || {
        let mut connection = coordinator(bootstrap(), Coordinates::Group, group);
        let answer = connection.call(&request, 8).unwrap();
        (code(answer.topics[0].partitions[0].error_code), ())
    })
    .0
}

/// OffsetFetch for partition 0: the error and the offset.
#[track_caller]
pub fn committed_offset(group: &str, topic: &str, stable: bool) -> (Code, i64) {
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_require_stable(stable)
        .with_topics(Some(vec![
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(vec![0]),
        ]));
    settled("OffsetFetch", || {
        let mut connection = coordinator(bootstrap(), Coordinates::Group, group);
        let answer = connection.call(&request, 7).unwrap();
        if answer.error_code != 0 {
            return (code(answer.error_code), -1);
        }
        let partition = &answer.topics[0].partitions[0];
        (code(partition.error_code), partition.committed_offset)
    })
}

/// Waits until the transaction's marker has reached the group and its offsets are stable.
#[track_caller]
fn stable_offset(group: &str, topic: &str) -> i64 {
    eventually("a stable offset", || {
        let (error, offset) = committed_offset(group, topic, true);
        match error {
            None => Some(offset),
            Some(ResponseError::UnstableOffsetCommit) => None,
            Some(other) => panic!("{other}"),
        }
    })
}

#[test]
fn offsets_of_a_transaction_are_visible_at_its_commit() {
    let topic = topic(1, &[]);
    let (id, group) = (unique("transaction"), unique("group"));
    assert_eq!(offset_commit(&group, None, &topic, 3), None);
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_offsets(&id, identity, &group), None);
    let sent = txn_offset_commit(&id, identity, &group, None, &topic, 8);
    assert_eq!(sent, None);

    assert_eq!(committed_offset(&group, &topic, false), (None, 3));
    let unstable = Some(ResponseError::UnstableOffsetCommit);
    assert_eq!(committed_offset(&group, &topic, true), (unstable, -1));

    assert_eq!(end(&id, identity, true), None);
    assert_eq!(stable_offset(&group, &topic), 8);
    assert_eq!(committed_offset(&group, &topic, false), (None, 8));
}

#[test]
fn offsets_of_an_aborted_transaction_are_never_visible() {
    let topic = topic(1, &[]);
    let (id, group) = (unique("transaction"), unique("group"));
    assert_eq!(offset_commit(&group, None, &topic, 3), None);
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_offsets(&id, identity, &group), None);
    let sent = txn_offset_commit(&id, identity, &group, None, &topic, 8);
    assert_eq!(sent, None);
    assert_eq!(end(&id, identity, false), None);
    assert_eq!(stable_offset(&group, &topic), 3);
}

#[test]
fn a_plain_commit_during_a_transaction_is_replaced_by_the_transactions() {
    let topic = topic(1, &[]);
    let (id, group) = (unique("transaction"), unique("group"));
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_offsets(&id, identity, &group), None);
    let sent = txn_offset_commit(&id, identity, &group, None, &topic, 8);
    assert_eq!(sent, None);
    assert_eq!(offset_commit(&group, None, &topic, 5), None);
    assert_eq!(committed_offset(&group, &topic, false), (None, 5));
    assert_eq!(end(&id, identity, false), None);
    assert_eq!(stable_offset(&group, &topic), 5);
}

#[test]
fn a_group_that_never_committed_has_no_offset() {
    let topic = topic(1, &[]);
    assert_eq!(committed_offset(&unique("group"), &topic, true), (None, -1));
}

#[test]
fn member_and_generation_are_checked_in_txn_offset_commit() {
    let topic = topic(1, &[]);
    let (id, group) = (unique("transaction"), unique("group"));
    let member = Member::alone(&group, &topic);
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_offsets(&id, identity, &group), None);
    let commit = |member: &str, generation: i32| {
        let member = Some((member, generation));
        txn_offset_commit(&id, identity, &group, member, &topic, 1)
    };
    let stranger = Some(ResponseError::UnknownMemberId);
    assert_eq!(commit("stranger", member.generation), stranger);
    let stale = Some(ResponseError::IllegalGeneration);
    assert_eq!(commit(&member.id, member.generation - 1), stale);
    assert_eq!(commit(&member.id, member.generation + 1), stale);
    assert_eq!(commit(&member.id, member.generation), None);
    assert_eq!(end(&id, identity, true), None);
    assert_eq!(stable_offset(&group, &topic), 1);
}

#[test]
fn member_and_generation_are_checked_in_offset_commit() {
    let topic = topic(1, &[]);
    let group = unique("group");
    let member = Member::alone(&group, &topic);
    let commit = |member: &str, generation: i32| {
        offset_commit(&group, Some((member, generation)), &topic, 1)
    };
    let stranger = Some(ResponseError::UnknownMemberId);
    assert_eq!(commit("stranger", member.generation), stranger);
    assert_eq!(offset_commit(&group, None, &topic, 1), stranger);
    let stale = Some(ResponseError::IllegalGeneration);
    assert_eq!(commit(&member.id, member.generation + 1), stale);
    assert_eq!(commit(&member.id, member.generation), None);
    assert_eq!(committed_offset(&group, &topic, true), (None, 1));
}

#[test]
fn a_client_commits_offsets_in_its_transaction_and_reads_them_back() {
    let topic = topic(2, &[]);
    let group = unique("group");
    let consumer = consumer(bootstrap(), &[("group.id", &group)]).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    eventually("an assignment", || {
        let _ = consumer.poll(std::time::Duration::from_millis(50));
        (consumer.assignment().unwrap().count() == 2).then_some(())
    });
    let producer = transactional(&unique("transaction"));
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(4))
        .unwrap();
    producer.begin_transaction().unwrap();
    let metadata = consumer.group_metadata().unwrap();
    producer
        .send_offsets_to_transaction(&offsets, &metadata, LIMIT)
        .unwrap();
    producer.commit_transaction(LIMIT).unwrap();
    let read = consumer.committed(LIMIT).unwrap();
    let read = |partition| read.find_partition(&topic, partition).unwrap().offset();
    assert_eq!(read(0), Offset::Offset(4));
    assert_eq!(read(1), Offset::Invalid);

    let mut more = TopicPartitionList::new();
    more.add_partition_offset(&topic, 1, Offset::Offset(9))
        .unwrap();
    consumer.commit(&more, CommitMode::Sync).unwrap();
    assert_eq!(committed_offset(&group, &topic, true), (None, 4));
}
