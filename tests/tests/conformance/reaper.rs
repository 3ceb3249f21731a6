//! `transaction.timeout.ms`: a transaction left open is aborted, and its producer fenced.

use crate::{
    broker::{topic, values},
    offsets::{committed_offset, txn_offset_commit},
    raw::{Batch, add_offsets, add_partition, await_stable, end, init, produce},
};
use kafka_protocol::ResponseError;
use sightline_testkit::unique;

#[test]
fn a_transaction_past_its_timeout_is_aborted_and_its_producer_fenced() {
    let topic = topic(1, &[]);
    let id = unique("transaction");
    let group = unique("group");
    let late = init(Some(&id), 1000).unwrap();
    assert_eq!(add_partition(&id, late, &topic), None);
    let batch = Batch::transactional(late, 0, &["late"]);
    assert_eq!(produce(&topic, Some(&id), &batch), (None, 0));
    assert_eq!(add_offsets(&id, late, &group), None);
    assert_eq!(txn_offset_commit(&id, late, &group, None, &topic, 1), None);
    await_stable(&topic, 2);

    let fenced = Some(ResponseError::InvalidProducerEpoch);
    assert_eq!(end(&id, late, true), fenced);
    assert_eq!(add_partition(&id, late, &topic), fenced);
    let batch = Batch::transactional(late, 1, &["later"]);
    assert_eq!(produce(&topic, Some(&id), &batch).0, fenced);
    assert!(values(&topic, "read_committed").is_empty());
    assert_eq!(committed_offset(&group, &topic, true), (None, -1));

    let next = init(Some(&id), 60_000).unwrap();
    assert_eq!(next.id, late.id);
    assert!(next.epoch > late.epoch);
    assert_eq!(add_partition(&id, next, &topic), None);
    let batch = Batch::transactional(next, 0, &["next"]);
    assert_eq!(produce(&topic, Some(&id), &batch), (None, 2));
    assert_eq!(end(&id, next, true), None);
    await_stable(&topic, 4);
}

#[test]
fn a_timeout_above_fifteen_minutes_is_refused() {
    let refused = Err(ResponseError::InvalidTransactionTimeout);
    assert_eq!(init(Some(&unique("transaction")), 900_001), refused);
    assert_eq!(init(Some(&unique("transaction")), 0), refused);
    assert_eq!(init(Some(&unique("transaction")), -1), refused);
    assert!(init(Some(&unique("transaction")), 900_000).is_ok());
}

#[test]
fn an_empty_transactional_id_is_refused() {
    let refused = Err(ResponseError::InvalidRequest);
    assert_eq!(init(Some(""), 60_000), refused);
}
