//! Sequence numbers: a repeated batch is stored once, and a gap is refused.

use crate::{
    broker::topic,
    raw::{Batch, Identity, READ_UNCOMMITTED, add_partition, end, fetch, init, produce, records},
};
use kafka_protocol::ResponseError;
use sightline_testkit::unique;

#[test]
fn a_repeated_batch_is_stored_once() {
    let topic = topic(1, &[]);
    let identity = init(None, 60_000).unwrap();
    let first = Batch::of(identity, 0, &["a", "b"]);
    assert_eq!(produce(&topic, None, &first), (None, 0));
    let second = Batch::of(identity, 2, &["c"]);
    assert_eq!(produce(&topic, None, &second), (None, 2));
    assert_eq!(produce(&topic, None, &first), (None, 0));
    assert_eq!(produce(&topic, None, &second), (None, 2));
    assert_eq!(records(&fetch(&topic, 0, READ_UNCOMMITTED)).len(), 3);
}

#[test]
fn the_last_five_batches_are_remembered() {
    let topic = topic(1, &[]);
    let identity = init(None, 60_000).unwrap();
    for sequence in 0..6 {
        let batch = Batch::of(identity, sequence, &["x"]);
        assert_eq!(produce(&topic, None, &batch), (None, i64::from(sequence)));
    }
    for sequence in 1..6 {
        let batch = Batch::of(identity, sequence, &["x"]);
        assert_eq!(produce(&topic, None, &batch), (None, i64::from(sequence)));
    }
    let (error, _) = produce(&topic, None, &Batch::of(identity, 0, &["x"]));
    assert_eq!(error, Some(ResponseError::OutOfOrderSequenceNumber));
}

#[test]
fn a_gap_is_refused() {
    let topic = topic(1, &[]);
    let identity = init(None, 60_000).unwrap();
    let first = Batch::of(identity, 0, &["a"]);
    assert_eq!(produce(&topic, None, &first), (None, 0));
    let (error, _) = produce(&topic, None, &Batch::of(identity, 2, &["c"]));
    assert_eq!(error, Some(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(records(&fetch(&topic, 0, READ_UNCOMMITTED)).len(), 1);
    let second = Batch::of(identity, 1, &["b"]);
    assert_eq!(produce(&topic, None, &second), (None, 1));
}

#[test]
fn sequences_continue_after_a_commit_and_restart_with_the_next_epoch() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let first = init(Some(&id), 60_000).unwrap();
    for sequence in 0..2 {
        assert_eq!(add_partition(&id, first, &topic), None);
        let batch = Batch::transactional(first, sequence, &["x"]);
        assert_eq!(produce(&topic, Some(&id), &batch).0, None);
        assert_eq!(end(&id, first, true), None);
    }
    let second = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_partition(&id, second, &topic), None);
    let (error, _) = produce(&topic, Some(&id), &Batch::transactional(second, 2, &["x"]));
    assert_eq!(error, Some(ResponseError::OutOfOrderSequenceNumber));
    let restarted = Batch::transactional(second, 0, &["x"]);
    assert_eq!(produce(&topic, Some(&id), &restarted).0, None);
    assert_eq!(end(&id, second, true), None);
}

#[test]
fn every_idempotent_producer_has_an_id_of_its_own() {
    let first = init(None, 60_000).unwrap();
    let second = init(None, 60_000).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!((first.epoch, second.epoch), (0, 0));
}

#[test]
fn an_older_epoch_of_an_idempotent_producer_is_refused() {
    let topic = topic(1, &[]);
    let identity = init(None, 60_000).unwrap();
    let newer = Identity {
        epoch: 1,
        ..identity
    };
    assert_eq!(produce(&topic, None, &Batch::of(newer, 0, &["a"])).0, None);
    let (error, _) = produce(&topic, None, &Batch::of(identity, 0, &["b"]));
    assert_eq!(error, Some(ResponseError::InvalidProducerEpoch));
}
