//! What a transaction writes to the log, and when consumers see it.

use crate::{
    broker::{LIMIT, bootstrap, read, send, topic, transactional, values},
    raw::{
        Batch, EARLIEST, Identity, LATEST, READ_COMMITTED, READ_UNCOMMITTED, add_partition,
        await_stable, code, end, fetch, fetch_request, init, list_offset, now_ms, produce, records,
    },
};
use bytes::Buf as _;
use rdkafka::producer::Producer as _;
use sightline_testkit::{eventually, producer, unique, wire::leader};
use std::time::{Duration, Instant};

const COMMIT: i16 = 1;
const ABORT: i16 = 0;

/// An open transaction that has written `value`.
#[track_caller]
fn open(topic: &str, value: &str) -> (String, Identity, i64) {
    let id = unique("transaction");
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_partition(&id, identity, topic), None);
    let (error, offset) = produce(
        topic,
        Some(&id),
        &Batch::transactional(identity, 0, &[value]),
    );
    assert_eq!(error, None);
    (id, identity, offset)
}

#[test]
fn control_batches_take_an_offset_each_and_never_reach_the_application() {
    let topic = topic(1, &[]);
    let producer = transactional(&unique("transaction"));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &["a", "b"]);
    producer.commit_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &["dropped"]);
    producer.abort_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &["c"]);
    producer.commit_transaction(LIMIT).unwrap();
    await_stable(&topic, 7);

    let committed = [(0, "a"), (1, "b"), (5, "c")];
    let committed: Vec<_> = committed.map(|(at, value)| (at, value.to_owned())).into();
    assert_eq!(values(&topic, "read_committed"), committed);
    let offsets: Vec<i64> = read(&topic, "read_uncommitted")
        .iter()
        .map(|seen| seen.offset)
        .collect();
    assert_eq!(offsets, [0, 1, 3, 5]);

    let all = records(&fetch(&topic, 0, READ_UNCOMMITTED));
    let offsets: Vec<i64> = all.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 6]);
    for (at, kind) in [(2, COMMIT), (4, ABORT), (6, COMMIT)] {
        let marker = &all[at];
        assert!(marker.control && marker.transactional);
        assert_eq!(marker.producer_id, all[0].producer_id);
        let mut key = marker.key.clone().unwrap();
        assert_eq!((key.get_i16(), key.get_i16()), (0, kind));
    }
    assert!(all.iter().filter(|record| record.control).count() == 3);
}

#[test]
fn the_last_stable_offset_stops_at_the_first_open_transaction() {
    let topic = topic(1, &[]);
    assert_eq!(produce(&topic, None, &Batch::plain(&["plain"])), (None, 0));
    let (first, first_identity, at) = open(&topic, "first");
    assert_eq!(at, 1);
    let (second, second_identity, at) = open(&topic, "second");
    assert_eq!(at, 2);
    assert_eq!(produce(&topic, None, &Batch::plain(&["plain"])), (None, 3));
    assert_eq!(end(&second, second_identity, true), None);
    let data = eventually("the second one's marker", || {
        let data = fetch(&topic, 0, READ_COMMITTED);
        (data.high_watermark == 5).then_some(data)
    });
    assert_eq!(data.last_stable_offset, 1);
    assert_eq!(records(&data).len(), 1);
    let beyond = fetch(&topic, 1, READ_COMMITTED);
    assert_eq!(code(beyond.error_code), None);
    assert_eq!(beyond.records.unwrap().len(), 0);
    assert_eq!(records(&fetch(&topic, 1, READ_UNCOMMITTED)).len(), 4);

    assert_eq!(end(&first, first_identity, true), None);
    await_stable(&topic, 6);
    assert_eq!(values(&topic, "read_committed").len(), 4);
}

#[test]
fn aborted_transactions_are_listed_with_their_first_offset() {
    let topic = topic(1, &[]);
    let (first, a, at) = open(&topic, "a");
    assert_eq!(at, 0);
    let (second, b, at) = open(&topic, "b");
    assert_eq!(at, 1);
    assert_eq!(produce(&topic, None, &Batch::plain(&["c"])), (None, 2));
    assert_eq!(end(&first, a, false), None);
    eventually("the first marker", || {
        (fetch(&topic, 0, READ_UNCOMMITTED).high_watermark == 4).then_some(())
    });
    assert_eq!(end(&second, b, false), None);
    await_stable(&topic, 5);
    assert_eq!(add_partition(&first, a, &topic), None);
    let again = Batch::transactional(a, 1, &["d"]);
    assert_eq!(produce(&topic, Some(&first), &again), (None, 5));
    assert_eq!(end(&first, a, true), None);
    await_stable(&topic, 7);

    let aborted = |from: i64| -> Option<Vec<(i64, i64)>> {
        let listed = fetch(&topic, from, READ_COMMITTED).aborted_transactions?;
        let mut listed: Vec<_> = listed
            .iter()
            .map(|aborted| (aborted.producer_id.0, aborted.first_offset))
            .collect();
        listed.sort_by_key(|(_, offset)| *offset);
        Some(listed)
    };
    assert_eq!(aborted(0), Some(vec![(a.id, 0), (b.id, 1)]));
    assert_eq!(aborted(3), Some(vec![(a.id, 0), (b.id, 1)]));
    assert_eq!(aborted(4), Some(vec![(b.id, 1)]));
    assert_eq!(aborted(5), Some(vec![]));
    let uncommitted = fetch(&topic, 0, READ_UNCOMMITTED);
    assert_eq!(uncommitted.aborted_transactions, None);
    // Both isolation levels receive the same batches and differ only in the list of aborted transactions.
    assert_eq!(
        records(&uncommitted).len(),
        records(&fetch(&topic, 0, READ_COMMITTED)).len()
    );
    let seen = values(&topic, "read_committed");
    assert_eq!(seen, [(2, "c".to_owned()), (5, "d".to_owned())]);
}

#[test]
fn list_offsets_answers_by_isolation() {
    let topic = topic(1, &[]);
    assert_eq!(produce(&topic, None, &Batch::plain(&["plain"])), (None, 0));
    let before = now_ms() + 1000;
    let id = unique("transaction");
    let identity = init(Some(&id), 60_000).unwrap();
    assert_eq!(add_partition(&id, identity, &topic), None);
    let batch = Batch::transactional(identity, 0, &["open"]).at(before + 1000);
    assert_eq!(produce(&topic, Some(&id), &batch), (None, 1));

    assert_eq!(list_offset(&topic, LATEST, READ_UNCOMMITTED).0, 2);
    assert_eq!(list_offset(&topic, LATEST, READ_COMMITTED).0, 1);
    assert_eq!(list_offset(&topic, EARLIEST, READ_COMMITTED).0, 0);
    let found = (1, before + 1000);
    assert_eq!(list_offset(&topic, before, READ_UNCOMMITTED), found);
    assert_eq!(list_offset(&topic, before, READ_COMMITTED), (-1, -1));

    assert_eq!(end(&id, identity, true), None);
    await_stable(&topic, 3);
    assert_eq!(list_offset(&topic, LATEST, READ_COMMITTED).0, 3);
    assert_eq!(list_offset(&topic, before, READ_COMMITTED), found);
}

#[test]
fn a_transaction_is_visible_as_a_whole_at_its_commit_and_never_after_an_abort() {
    let (left, right) = (topic(1, &[]), topic(1, &[]));
    let producer = transactional(&unique("transaction"));
    producer.begin_transaction().unwrap();
    send(&producer, &left, &["l"]);
    send(&producer, &right, &["r"]);
    assert!(values(&left, "read_committed").is_empty());
    assert_eq!(values(&left, "read_uncommitted").len(), 1);
    producer.commit_transaction(LIMIT).unwrap();
    await_stable(&left, 2);
    await_stable(&right, 2);
    assert_eq!(values(&left, "read_committed").len(), 1);
    assert_eq!(values(&right, "read_committed").len(), 1);
}

#[test]
fn a_waiting_fetch_wakes_when_a_transaction_commits() {
    let topic = topic(1, &[]);
    let (id, identity, at) = open(&topic, "open");
    let mut connection = leader(bootstrap(), &topic, 0);
    let started = Instant::now();
    let request = fetch_request(&topic, 0, at, READ_COMMITTED, 20_000);
    let waiting = std::thread::spawn(move || connection.call(&request, 11).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished());
    assert_eq!(end(&id, identity, true), None);
    let answer = waiting.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(records(&answer.responses[0].partitions[0])[0].offset, at);
}

#[test]
fn a_waiting_fetch_wakes_when_a_record_arrives_and_ends_empty_otherwise() {
    let topic = topic(1, &[]);
    let mut connection = leader(bootstrap(), &topic, 0);
    let started = Instant::now();
    let request = fetch_request(&topic, 0, 0, READ_UNCOMMITTED, 300);
    let empty = connection.call(&request, 11).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(290));
    let empty = &empty.responses[0].partitions[0];
    assert_eq!(empty.records.as_ref().map(bytes::Bytes::len), Some(0));

    let started = Instant::now();
    let request = fetch_request(&topic, 0, 0, READ_UNCOMMITTED, 20_000);
    let waiting = std::thread::spawn(move || connection.call(&request, 11).unwrap());
    let producer = producer(bootstrap(), &[]).unwrap();
    send(&producer, &topic, &["arrives"]);
    let answer = waiting.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(records(&answer.responses[0].partitions[0]).len(), 1);
}
