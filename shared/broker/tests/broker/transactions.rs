//! Transactions, as seen by read-committed consumers and fenced producers.

use super::clients::{Rig, WAIT, poll_until, send};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, producer::Producer};
use sightline_broker::ApiKey;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn committed_records_are_seen_aborted_and_open_ones_are_not() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "kept").await.unwrap();
    producer.commit_transaction(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "dropped").await.unwrap();
    producer.abort_transaction(WAIT).unwrap();
    let other = rig.transactional("b");
    other.begin_transaction().unwrap();
    send(&other, "t", 0, "open").await.unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "behind").await.unwrap();
    producer.commit_transaction(WAIT).unwrap();

    assert_eq!(rig.values("t", 0, "read_committed"), ["kept"]);
    assert_eq!(
        rig.values("t", 0, "read_uncommitted"),
        ["kept", "dropped", "open", "behind"]
    );
    other.commit_transaction(WAIT).unwrap();
    assert_eq!(
        rig.values("t", 0, "read_committed"),
        ["kept", "open", "behind"]
    );
    // Four records and four markers.
    assert_eq!(
        rig.consumer("g", &[])
            .fetch_watermarks("t", 0, WAIT)
            .unwrap(),
        (0, 8)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_transaction_wakes_a_waiting_reader() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let consumer = rig.consumer(
        "g",
        &[
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", "10000"),
        ],
    );
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "x").await.unwrap();
    assert!(consumer.poll(Duration::from_secs(1)).is_none());
    let begun = Instant::now();
    producer.commit_transaction(WAIT).unwrap();
    consumer.poll(WAIT).unwrap().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "took {:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_producer_fences_the_first_and_aborts_what_it_left() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let zombie = rig.transactional("a");
    zombie.begin_transaction().unwrap();
    send(&zombie, "t", 0, "zombie").await.unwrap();
    let heir = rig.transactional("a");
    heir.begin_transaction().unwrap();
    send(&heir, "t", 0, "heir").await.unwrap();
    let late = send(&zombie, "t", 0, "late").await;
    assert!(late.is_err(), "a zombie's record was taken");
    let commit = zombie.commit_transaction(WAIT);
    assert!(commit.is_err(), "a zombie committed");
    heir.commit_transaction(WAIT).unwrap();
    assert_eq!(rig.values("t", 0, "read_committed"), ["heir"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_transaction_count_from_its_commit_on() {
    let rig = Rig::start();
    rig.topic("in", 1, &[]).await;
    rig.topic("out", 1, &[]).await;
    let plain = rig.producer(&[]);
    for i in 0..3 {
        send(&plain, "in", 0, &i.to_string()).await.unwrap();
    }
    let consumer = rig.consumer("g", &[("isolation.level", "read_committed")]);
    consumer.subscribe(&["in"]).unwrap();
    poll_until(&[&consumer], |c| c[0].assignment().unwrap().count() == 1);
    let committed = || {
        consumer
            .committed(Duration::from_secs(2))
            .map(|list| list.elements()[0].offset())
    };
    let offsets = |offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("in", 0, Offset::Offset(offset))
            .unwrap();
        list
    };
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "out", 0, "1").await.unwrap();
    producer
        .send_offsets_to_transaction(&offsets(1), &consumer.group_metadata().unwrap(), WAIT)
        .unwrap();
    assert!(
        committed().is_err(),
        "offsets of an open transaction were told"
    );
    producer.commit_transaction(WAIT).unwrap();
    assert_eq!(committed().unwrap(), Offset::Offset(1));
    producer.begin_transaction().unwrap();
    producer
        .send_offsets_to_transaction(&offsets(2), &consumer.group_metadata().unwrap(), WAIT)
        .unwrap();
    producer.abort_transaction(WAIT).unwrap();
    assert_eq!(committed().unwrap(), Offset::Offset(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_an_old_generation_commits_no_offsets() {
    let rig = Rig::start();
    rig.topic("in", 2, &[]).await;
    let first = rig.consumer("g", &[]);
    first.subscribe(&["in"]).unwrap();
    poll_until(&[&first], |c| c[0].assignment().unwrap().count() == 2);
    let stale = first.group_metadata().unwrap();
    let second = rig.consumer("g", &[]);
    second.subscribe(&["in"]).unwrap();
    poll_until(&[&first, &second], |c| {
        c.iter().all(|c| c.assignment().unwrap().count() == 1)
    });
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("in", 0, Offset::Offset(1))
        .unwrap();
    let error = producer
        .send_offsets_to_transaction(&list, &stale, WAIT)
        .unwrap_err();
    assert!(
        error.to_string().contains("llegal") || error.to_string().contains("generation"),
        "{error}"
    );
    producer.abort_transaction(WAIT).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_transaction_is_aborted_and_its_producer_fenced() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.producer(&[
        ("transactional.id", "a"),
        ("transaction.timeout.ms", "3000"),
        ("message.timeout.ms", "1000"),
    ]);
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "slow").await.unwrap();
    let plain = rig.producer(&[]);
    send(&plain, "t", 0, "after").await.unwrap();
    assert!(rig.values("t", 0, "read_committed").is_empty());
    let begun = Instant::now();
    while rig.values("t", 0, "read_committed").is_empty() {
        assert!(begun.elapsed() < WAIT);
    }
    assert_eq!(rig.values("t", 0, "read_committed"), ["after"]);
    assert!(producer.commit_transaction(WAIT).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn longer_than_fifteen_minutes_is_too_long() {
    let rig = Rig::start();
    let producer = rig.producer(&[
        ("transactional.id", "a"),
        ("transaction.timeout.ms", "900001"),
    ]);
    let error = producer.init_transactions(WAIT).unwrap_err();
    assert!(
        error.to_string().contains("InvalidTransactionTimeout")
            || error.to_string().contains("max.transaction.timeout.ms"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_hold_and_drop_answers_without_undoing_what_was_done() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "held").await.unwrap();
    let hold = rig.broker().hooks().hold(ApiKey::EndTxn);
    let committing = std::thread::spawn({
        let producer = producer.clone();
        move || producer.commit_transaction(WAIT)
    });
    let begun = Instant::now();
    while rig.values("t", 0, "read_committed") != ["held"] {
        assert!(begun.elapsed() < WAIT);
    }
    assert!(!committing.is_finished());
    hold.release();
    committing.join().unwrap().unwrap();

    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "dropped").await.unwrap();
    rig.broker().hooks().drop_answers(ApiKey::EndTxn, 1);
    producer.commit_transaction(WAIT).unwrap();
    assert_eq!(rig.values("t", 0, "read_committed"), ["held", "dropped"]);
}
