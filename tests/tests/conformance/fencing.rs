//! A transactional id belongs to the producer that initialised it last.

use crate::{
    broker::{LIMIT, send, topic, transactional, values},
    offsets::txn_offset_commit,
    raw::{Batch, Identity, add_offsets, add_partition, await_stable, end, init, produce},
};
use kafka_protocol::ResponseError;
use rdkafka::{error::RDKafkaErrorCode, producer::Producer as _};
use sightline_testkit::unique;

#[test]
fn the_epoch_is_raised_by_init_producer_id_and_by_nothing_else() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let first = init(Some(&id), 60_000).unwrap();
    assert_eq!(first.epoch, 0);
    for sequence in 0..3 {
        assert_eq!(add_partition(&id, first, &topic), None);
        let batch = Batch::transactional(first, sequence, &["x"]);
        assert_eq!(produce(&topic, Some(&id), &batch).0, None);
        assert_eq!(end(&id, first, sequence != 1), None);
    }
    let second = init(Some(&id), 60_000).unwrap();
    assert_eq!((second.id, second.epoch), (first.id, 1));
    let third = init(Some(&id), 60_000).unwrap();
    assert_eq!((third.id, third.epoch), (first.id, 2));
}

/// A producer with an open transaction, and the successor that fences it.
#[track_caller]
fn succeed(topic: &str) -> (String, Identity, Identity) {
    let id = unique("transaction");
    let zombie = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_partition(&id, zombie, topic), None);
    let batch = Batch::transactional(zombie, 0, &["zombie"]);
    assert_eq!(produce(topic, Some(&id), &batch).0, None);
    let successor = init(Some(&id), 60_000).unwrap();
    assert_eq!(successor.id, zombie.id);
    assert!(successor.epoch > zombie.epoch);
    await_stable(topic, 2);
    (id, zombie, successor)
}

#[test]
fn init_producer_id_aborts_what_its_predecessor_left_open() {
    let topic = topic(1, &[]);
    let (id, _, successor) = succeed(&topic);
    assert!(values(&topic, "read_committed").is_empty());
    assert_eq!(add_partition(&id, successor, &topic), None);
    let batch = Batch::transactional(successor, 0, &["successor"]);
    assert_eq!(produce(&topic, Some(&id), &batch), (None, 2));
    assert_eq!(end(&id, successor, true), None);
    await_stable(&topic, 4);
    let seen = values(&topic, "read_committed");
    assert_eq!(seen, [(2, "successor".to_owned())]);
}

#[test]
fn a_zombie_is_fenced_at_produce() {
    let topic = topic(1, &[]);
    let (id, zombie, _) = succeed(&topic);
    let late = Batch::transactional(zombie, 1, &["late"]);
    let (error, _) = produce(&topic, Some(&id), &late);
    assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
    let error = add_partition(&id, zombie, &topic);
    assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
    await_stable(&topic, 2);
}

#[test]
fn a_zombie_is_fenced_at_produce_while_its_successor_writes() {
    let topic = topic(1, &[]);
    let (id, zombie, successor) = succeed(&topic);
    assert_eq!(add_partition(&id, successor, &topic), None);
    let batch = Batch::transactional(successor, 0, &["successor"]);
    assert_eq!(produce(&topic, Some(&id), &batch), (None, 2));
    let late = Batch::transactional(zombie, 1, &["late"]);
    let (error, _) = produce(&topic, Some(&id), &late);
    assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
    assert_eq!(end(&id, successor, true), None);
    await_stable(&topic, 4);
}

#[test]
fn a_zombie_is_fenced_at_offsets() {
    let topic = topic(1, &[]);
    let group = unique("group");
    let (id, zombie, successor) = succeed(&topic);
    let error = add_offsets(&id, zombie, &group);
    assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
    assert_eq!(add_offsets(&id, successor, &group), None);
    let committed = txn_offset_commit(&id, successor, &group, None, &topic, 7);
    assert_eq!(committed, None);
    let error = txn_offset_commit(&id, zombie, &group, None, &topic, 9);
    assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
    assert_eq!(end(&id, successor, true), None);
}

#[test]
fn a_zombie_is_fenced_at_commit_and_at_abort() {
    let topic = topic(1, &[]);
    let (id, zombie, _) = succeed(&topic);
    for committed in [true, false] {
        let error = end(&id, zombie, committed);
        assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
    }
    assert!(values(&topic, "read_committed").is_empty());
}

#[test]
fn a_foreign_producer_id_is_refused() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let owner = init(Some(&id), 60_000).unwrap();
    let stranger = init(None, 60_000).unwrap();
    assert_ne!(owner.id, stranger.id);
    let mapping = Some(ResponseError::InvalidProducerIdMapping);
    assert_eq!(add_partition(&id, stranger, &topic), mapping);
    assert_eq!(end(&id, stranger, true), mapping);
    let nobody = unique("transaction");
    assert_eq!(add_partition(&nobody, owner, &topic), mapping);
}

#[test]
fn a_transactional_write_outside_a_transaction_is_refused() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let identity = init(Some(&id), 60_000).unwrap();
    let batch = Batch::transactional(identity, 0, &["x"]);
    let (error, _) = produce(&topic, Some(&id), &batch);
    assert_eq!(error, Some(ResponseError::InvalidTxnState));
    assert!(values(&topic, "read_uncommitted").is_empty());
}

#[test]
fn a_repeated_end_of_a_transaction_is_answered_alike_and_the_opposite_is_refused() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_partition(&id, identity, &topic), None);
    let batch = Batch::transactional(identity, 0, &["x"]);
    assert_eq!(produce(&topic, Some(&id), &batch).0, None);
    assert_eq!(end(&id, identity, true), None);
    assert_eq!(end(&id, identity, true), None);
    let error = end(&id, identity, false);
    assert_eq!(error, Some(ResponseError::InvalidTxnState));
    await_stable(&topic, 2);
}

#[test]
fn a_client_learns_that_it_was_fenced() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let zombie = transactional(&id);
    zombie.begin_transaction().unwrap();
    send(&zombie, &topic, &["zombie"]);
    let successor = transactional(&id);
    let error = zombie.commit_transaction(LIMIT).unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fenced));
    let (code, _) = zombie.client().fatal_error().unwrap();
    assert_eq!(code, RDKafkaErrorCode::Fenced);
    successor.begin_transaction().unwrap();
    send(&successor, &topic, &["successor"]);
    successor.commit_transaction(LIMIT).unwrap();
    await_stable(&topic, 4);
    let seen = values(&topic, "read_committed");
    assert_eq!(seen, [(2, "successor".to_owned())]);
}
