//! Consumer groups through librdkafka.

use super::clients::{Rig, WAIT, assigned, poll_until};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::{collections::BTreeSet, time::Duration};

fn partitions(consumer: &BaseConsumer) -> BTreeSet<i32> {
    consumer
        .assignment()
        .unwrap()
        .elements()
        .iter()
        .map(|e| e.partition())
        .collect()
}

async fn partitions_are_shared_and_inherited(strategy: &str) {
    let rig = Rig::start();
    rig.topic("t", 6, &[]).await;
    let settings = [
        ("partition.assignment.strategy", strategy),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "200"),
    ];
    let first = rig.consumer("g", &settings);
    first.subscribe(&["t"]).unwrap();
    poll_until(&[&first], |c| assigned(c[0]) == 6);
    let second = rig.consumer("g", &settings);
    second.subscribe(&["t"]).unwrap();
    poll_until(&[&first, &second], |c| c.iter().all(|c| assigned(c) == 3));
    assert!(partitions(&first).is_disjoint(&partitions(&second)));
    drop(second);
    poll_until(&[&first], |c| assigned(c[0]) == 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn eager_range() {
    partitions_are_shared_and_inherited("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cooperative_sticky() {
    partitions_are_shared_and_inherited("cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stops_polling_loses_its_partitions() {
    let rig = Rig::start();
    rig.topic("t", 2, &[]).await;
    let settings = [
        ("session.timeout.ms", "2000"),
        ("heartbeat.interval.ms", "200"),
        ("max.poll.interval.ms", "2000"),
    ];
    let silent = rig.consumer("g", &settings);
    silent.subscribe(&["t"]).unwrap();
    poll_until(&[&silent], |c| assigned(c[0]) == 2);
    let heir = rig.consumer("g", &settings);
    heir.subscribe(&["t"]).unwrap();
    poll_until(&[&heir], |c| assigned(c[0]) == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_without_a_rebalance() {
    let rig = Rig::start();
    rig.topic("t", 4, &[]).await;
    let settings = |instance| {
        [
            ("group.instance.id", instance),
            ("session.timeout.ms", "20000"),
            ("heartbeat.interval.ms", "200"),
        ]
    };
    let (one, two) = (
        rig.consumer("g", &settings("one")),
        rig.consumer("g", &settings("two")),
    );
    one.subscribe(&["t"]).unwrap();
    two.subscribe(&["t"]).unwrap();
    poll_until(&[&one, &two], |c| c.iter().all(|c| assigned(c) == 2));
    let before = partitions(&two);
    drop(two);
    let again = rig.consumer("g", &settings("two"));
    again.subscribe(&["t"]).unwrap();
    poll_until(&[&one, &again], |c| assigned(c[1]) == 2);
    assert_eq!(partitions(&again), before);
    assert_eq!(assigned(&one), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_and_the_generation_outlive_a_crash() {
    let mut rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let consumer = rig.consumer(
        "g",
        &[
            ("heartbeat.interval.ms", "200"),
            ("reconnect.backoff.max.ms", "200"),
        ],
    );
    consumer.subscribe(&["t"]).unwrap();
    poll_until(&[&consumer], |c| assigned(c[0]) == 1);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(7))
        .unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    rig.crash_and_restart();
    assert_eq!(
        consumer.committed(WAIT).unwrap().elements()[0].offset(),
        Offset::Offset(7)
    );
    list.set_partition_offset("t", 0, Offset::Offset(8))
        .unwrap();
    let begun = std::time::Instant::now();
    while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
        assert!(begun.elapsed() < WAIT, "{error}");
        consumer.poll(Duration::from_millis(50));
    }
    assert_eq!(assigned(&consumer), 1, "the member had to join anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_with_their_members() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let consumer = rig.consumer("g", &[("client.id", "me")]);
    consumer.subscribe(&["t"]).unwrap();
    poll_until(&[&consumer], |c| assigned(c[0]) == 1);
    let list = consumer.fetch_group_list(None, WAIT).unwrap();
    let group = list.groups().iter().find(|g| g.name() == "g").unwrap();
    assert_eq!(
        (group.state(), group.protocol_type()),
        ("Stable", "consumer")
    );
    assert_eq!(group.members()[0].client_id(), "me");
}
