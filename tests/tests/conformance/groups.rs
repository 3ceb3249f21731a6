//! Classic consumer groups with librdkafka as client: range, cooperative-sticky, static members, vanished members.

use crate::{
    broker::{bootstrap, send, topic},
    members::Member,
};
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, Message as _, TopicPartitionList,
    client::ClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
    producer::BaseRecord,
};
use sightline_testkit::{consumer, eventually, producer, unique};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Partitions that were assigned (`true`) or revoked, in order.
type Moves = Vec<(bool, Vec<i32>)>;

/// The rebalances of one member.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Moves>>);

impl Told {
    fn all(&self) -> Moves {
        self.0.lock().clone()
    }
}

impl ClientContext for Told {}

impl ConsumerContext for Told {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let partitions = |list: &TopicPartitionList| {
            list.elements()
                .iter()
                .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
                .collect()
        };
        let (given, list) = match rebalance {
            Rebalance::Assign(list) => (true, list),
            Rebalance::Revoke(list) => (false, list),
            Rebalance::Error(error) => panic!("{error}"),
        };
        // A cooperative group rebalances once more after a partition has moved; most members are assigned nothing then.
        if list.count() > 0 {
            self.0.lock().push((given, partitions(list)));
        }
    }
}

/// A librdkafka consumer that records its rebalances.
struct Group<'a> {
    name: &'a str,
    topic: &'a str,
    strategy: &'a str,
}

impl Group<'_> {
    fn join(&self, instance: Option<&str>) -> (BaseConsumer<Told>, Told) {
        let told = Told::default();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap().as_str())
            .set("broker.address.family", "v4")
            .set("group.id", self.name)
            .set("partition.assignment.strategy", self.strategy)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("heartbeat.interval.ms", "200")
            .set("session.timeout.ms", "10000");
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        let consumer: BaseConsumer<Told> = config.create_with_context(told.clone()).unwrap();
        consumer.subscribe(&[self.topic]).unwrap();
        (consumer, told)
    }
}

fn assigned(consumer: &BaseConsumer<Told>) -> BTreeSet<i32> {
    if let Some(Err(error)) = consumer.poll(Duration::from_millis(20)) {
        panic!("{error}");
    }
    let assignment = consumer.assignment().unwrap();
    let partitions = assignment.elements();
    partitions.iter().map(|p| p.partition()).collect()
}

/// Polls both until their assignments have this size and are disjoint.
#[track_caller]
fn await_shares(
    left: &BaseConsumer<Told>,
    right: &BaseConsumer<Told>,
    each: usize,
) -> (BTreeSet<i32>, BTreeSet<i32>) {
    eventually("a fair share for both", || {
        let (left, right) = (assigned(left), assigned(right));
        let fair = left.len() == each && right.len() == each && left.is_disjoint(&right);
        fair.then_some((left, right))
    })
}

#[test]
fn range_assigns_consecutive_partitions_to_each_member() {
    let (name, topic) = (unique("group"), topic(4, &[]));
    let group = Group {
        name: &name,
        topic: &topic,
        strategy: "range",
    };
    let (first, _) = group.join(None);
    eventually("all partitions", || {
        (assigned(&first).len() == 4).then_some(())
    });
    let (second, _) = group.join(None);
    let (left, right) = await_shares(&first, &second, 2);
    let runs = [BTreeSet::from([0, 1]), BTreeSet::from([2, 3])];
    assert!(runs.contains(&left) && runs.contains(&right));
    // A consumer that is closed leaves the group, so the others need not wait for its session to time out.
    let left_at = Instant::now();
    drop(second);
    eventually("all partitions", || {
        (assigned(&first).len() == 4).then_some(())
    });
    assert!(left_at.elapsed() < Duration::from_secs(8));
}

#[test]
fn cooperative_sticky_revokes_only_partitions_that_move() {
    let (name, topic) = (unique("group"), topic(4, &[]));
    let group = Group {
        name: &name,
        topic: &topic,
        strategy: "cooperative-sticky",
    };
    let (first, told) = group.join(None);
    eventually("all partitions", || {
        (assigned(&first).len() == 4).then_some(())
    });
    let (second, told_second) = group.join(None);
    let (left, _) = await_shares(&first, &second, 2);
    let taken: Vec<i32> = told
        .all()
        .into_iter()
        .filter(|(given, _)| !given)
        .flat_map(|(_, partitions)| partitions)
        .collect();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|partition| !left.contains(partition)));
    assert!(told_second.all().iter().all(|(given, _)| *given));
}

#[test]
fn a_static_member_that_restarts_causes_no_rebalance() {
    for strategy in ["range", "cooperative-sticky"] {
        let (name, topic) = (unique("group"), topic(4, &[]));
        let group = Group {
            name: &name,
            topic: &topic,
            strategy,
        };
        let (first, told_first) = group.join(Some("one"));
        eventually("all partitions", || {
            (assigned(&first).len() == 4).then_some(())
        });
        let (second, _) = group.join(Some("two"));
        let (left, right) = await_shares(&first, &second, 2);

        let before = told_first.all();
        drop(second);
        let (second, told_second) = group.join(Some("two"));
        let again = eventually("its partitions back", || {
            assert_eq!(assigned(&first), left);
            let again = assigned(&second);
            (again.len() == 2).then_some(again)
        });
        assert_eq!(again, right);
        assert_eq!(told_first.all(), before);

        // So does the leader: it keeps its assignment and is not asked for a new one.
        let before = told_second.all();
        drop(first);
        let (first, _) = group.join(Some("one"));
        let again = eventually("its partitions back", || {
            assert_eq!(assigned(&second), right);
            let again = assigned(&first);
            (again.len() == 2).then_some(again)
        });
        assert_eq!(again, left);
        assert_eq!(told_second.all(), before);
    }
}

#[test]
fn a_second_holder_of_an_instance_id_fences_the_first() {
    let (name, topic) = (unique("group"), topic(1, &[]));
    let group = Group {
        name: &name,
        topic: &topic,
        strategy: "range",
    };
    let (first, _) = group.join(Some("one"));
    eventually("the partition", || {
        (assigned(&first).len() == 1).then_some(())
    });
    let (second, _) = group.join(Some("one"));
    eventually("the first one's end", || {
        let _ = second.poll(Duration::from_millis(20));
        match first.poll(Duration::from_millis(20)) {
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                assert_eq!(code, RDKafkaErrorCode::FencedInstanceId);
                Some(())
            }
            Some(Err(error)) => panic!("{error:?}"),
            _ => None,
        }
    });
    eventually("the partition", || {
        (assigned(&second).len() == 1).then_some(())
    });
}

#[test]
fn a_member_that_vanishes_loses_its_partitions_when_its_session_ends() {
    let (name, topic) = (unique("group"), topic(2, &[]));
    let mut vanished = Member::alone(&name, &topic);
    let started = Instant::now();
    let group = Group {
        name: &name,
        topic: &topic,
        strategy: "range",
    };
    let (heir, _) = group.join(None);
    eventually("all partitions", || {
        (assigned(&heir).len() == 2).then_some(())
    });
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(4), "{waited:?}");
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    let (id, generation) = (vanished.id.clone(), vanished.generation);
    let beat = vanished.heartbeat(&id, generation);
    assert_eq!(beat, Some(kafka_protocol::ResponseError::UnknownMemberId));
}

#[test]
fn a_group_continues_from_its_committed_offset() {
    let (name, topic) = (unique("group"), topic(1, &[]));
    let producer = producer(bootstrap(), &[]).unwrap();
    send(&producer, &topic, &["a", "b", "c"]);
    for offset in 0..2 {
        let member = consumer(bootstrap(), &[("group.id", &name)]).unwrap();
        member.subscribe(&[&topic]).unwrap();
        let message = eventually("a record", || member.poll(Duration::from_millis(50)));
        let message = message.unwrap();
        assert_eq!(message.offset(), offset);
        member.commit_message(&message, CommitMode::Sync).unwrap();
    }
}

#[test]
fn new_partitions_reach_the_members() {
    let (name, topic) = (unique("group"), topic(1, &[]));
    let config = [
        ("group.id", name.as_str()),
        ("topic.metadata.refresh.interval.ms", "200"),
    ];
    let consumer = consumer(bootstrap(), &config).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let admin = sightline_testkit::Admin::new(bootstrap()).unwrap();
    eventually("the first partition", || {
        let _ = consumer.poll(Duration::from_millis(20));
        (consumer.assignment().unwrap().count() == 1).then_some(())
    });
    admin.create_partitions(&topic, 3).unwrap();
    eventually("three partitions", || {
        let _ = consumer.poll(Duration::from_millis(20));
        (consumer.assignment().unwrap().count() == 3).then_some(())
    });
    let producer = producer(bootstrap(), &[]).unwrap();
    let record = BaseRecord::<str, str>::to(&topic).partition(2).payload("x");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    let seen = eventually("the record", || {
        let message = consumer.poll(Duration::from_millis(20))?.unwrap();
        Some((message.partition(), message.offset()))
    });
    assert_eq!(seen, (2, 0));
}
