//! The loop against a broker: the embedded one, or Apache Kafka at `SIGHTLINE_TEST_BOOTSTRAP`.
#![allow(clippy::unwrap_used)]

mod crashes;
mod hostile;
mod support;

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use sightline_contracts::{Reason, Topic, headers};
use sightline_stream::{
    CancellationToken, Config, Error, KafkaSettings, LoopSettings, Metrics, Outcome, Output,
    Record, Spec, Status, admin,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use support::*;

fn pass_on(record: Record) -> Outcome {
    let value = record.value.clone().unwrap_or_default();
    Outcome::Done(vec![Output::new(Topic::Images, record.key, value)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_each_record_once_and_in_order() {
    let cluster = Cluster::start("copy").await;
    cluster.publish(0..500).await;
    let instance = cluster.instance(cluster.settings(), Do(async |r| pass_on(r)));
    let copies = cluster.read(Topic::Images, 500).await;
    assert_each_once_in_order(&copies, 0..500);
    assert!(
        copies
            .iter()
            .all(|r| r.headers.text(headers::TRACEPARENT).is_some())
    );
    assert!(instance.status.ready() && instance.status.alive());
    instance.stop().await.unwrap();
    let group = format!("{}test", cluster.prefix);
    let lag = admin::lag(&cluster.kafka, &group, &cluster.name(Topic::Ingest))
        .await
        .unwrap();
    assert!(lag.iter().all(|lag| lag.lag == 0), "{lag:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rejected_panics_or_fails_too_often_becomes_a_dead_letter() {
    let cluster = Cluster::start("reject").await;
    cluster.publish(0..60).await;
    let settings = LoopSettings {
        retry_budget: 3,
        attempt_timeout: Duration::from_millis(300),
        ..cluster.settings()
    };
    let instance = cluster.instance(
        settings,
        Do(async |record: Record| match number(&record) {
            10 => Outcome::reject(Reason::Corrupt, "not a picture"),
            20 => panic!("oh no"),
            30 => Outcome::retry("never works"),
            40 => std::future::pending().await,
            50 if record.attempt < 3 => Outcome::retry("works the third time"),
            _ => pass_on(record),
        }),
    );
    let copies = cluster.read(Topic::Images, 56).await;
    assert!(copies.iter().any(|r| number(r) == 50));
    let letters = cluster.read(Topic::DeadLetters, 4).await;
    let mut found: Vec<_> = letters
        .iter()
        .map(|r| {
            let header = |name| r.headers.text(name).unwrap().to_owned();
            assert_eq!(header(headers::SOURCE_TOPIC), "ingest");
            assert_eq!(header(headers::STAGE), "test");
            let attempts = header(headers::ATTEMPTS);
            (number(r), header(headers::REASON), attempts)
        })
        .collect();
    found.sort();
    let entry = |n: u32, reason: Reason, attempts: &str| {
        (n, reason.as_str().to_owned(), attempts.to_owned())
    };
    assert_eq!(
        found,
        [
            entry(10, Reason::Corrupt, "1"),
            entry(20, Reason::Internal, "1"),
            entry(30, Reason::Exhausted, "3"),
            entry(40, Reason::Internal, "1"),
        ]
    );
    instance.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_takes_over_half_in_mid_flow() {
    let cluster = Cluster::start("rebalance").await;
    let slow = || {
        Do(async |record| {
            tokio::time::sleep(Duration::from_millis(3)).await;
            pass_on(record)
        })
    };
    let first = cluster.instance(cluster.settings(), slow());
    cluster.publish(0..300).await;
    let second = LoopSettings {
        instance: "1".into(),
        ..cluster.settings()
    };
    let second = cluster.instance(second, slow());
    for chunk in 3..10u32 {
        cluster.publish(chunk * 100..(chunk + 1) * 100).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    first.stop().await.unwrap();
    cluster.publish(1000..1200).await;
    let copies = cluster.read(Topic::Images, 1200).await;
    assert_each_once_in_order(&copies, 0..1200);
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_mid_flow_nothing_is_lost_or_doubled() {
    let cluster = Cluster::start("kill").await;
    let slow = || {
        Do(async |record| {
            tokio::time::sleep(Duration::from_millis(2)).await;
            pass_on(record)
        })
    };
    cluster.publish(0..400).await;
    let settings = LoopSettings {
        max_in_flight_records: 20,
        ..cluster.settings()
    };
    // The same instance again fences the dead one at once.
    for _ in 0..3 {
        let doomed = cluster.instance(settings.clone(), slow());
        tokio::time::sleep(Duration::from_millis(400)).await;
        doomed.kill().await;
    }
    // Another instance has to wait until the session of the dead one ends.
    let heir = LoopSettings {
        instance: "heir".into(),
        ..settings
    };
    let heir = cluster.instance(heir, slow());
    let copies = cluster.read(Topic::Images, 400).await;
    assert_each_once_in_order(&copies, 0..400);
    heir.stop().await.unwrap();
}

/// Outputs that wait may share memory with the values they were made of, and these keep the consumer alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_with_outputs_that_wait_it_lets_go_of_its_partitions() {
    let cluster = Cluster::start("waiting").await;
    cluster.publish(0..30).await;
    let worked_on = Arc::new(AtomicU32::new(0));
    let count = worked_on.clone();
    let late = LoopSettings {
        commit_interval: Duration::from_secs(5),
        ..cluster.settings()
    };
    let doomed = cluster.instance(
        late,
        Do(move |record| {
            count.fetch_add(1, SeqCst);
            async { pass_on(record) }
        }),
    );
    eventually("all worked on", || worked_on.load(SeqCst) == 30).await;
    doomed.kill().await;
    let heir = LoopSettings {
        instance: "heir".into(),
        ..cluster.settings()
    };
    let heir = cluster.instance(heir, Do(async |r| pass_on(r)));
    let copies = cluster.read(Topic::Images, 30).await;
    assert_each_once_in_order(&copies, 0..30);
    heir.stop().await.unwrap();
}

/// What the loop's order rests on: a partition's queue that is split off before the partition is assigned gets all of
/// its records, and the main queue none that later ones could overtake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_split_off_before_the_assignment_gets_every_record() {
    let cluster = Cluster::start("split").await;
    cluster.publish(0..300).await;
    let topic = cluster.name(Topic::Ingest);
    let consumer: Arc<BaseConsumer> = ClientConfig::new()
        .set("bootstrap.servers", &cluster.kafka.bootstrap)
        .set("group.id", &topic)
        .create()
        .map(Arc::new)
        .unwrap();
    let found = tokio::task::spawn_blocking(move || {
        let mut assignment = TopicPartitionList::new();
        let queues: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                let mut place = assignment.add_partition(&topic, partition);
                place.set_offset(Offset::Beginning).unwrap();
                consumer.split_partition_queue(&topic, partition).unwrap()
            })
            .collect();
        consumer.incremental_assign(&assignment).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut offsets = vec![Vec::new(); queues.len()];
        while offsets.iter().map(Vec::len).sum::<usize>() < 300 && Instant::now() < deadline {
            for (queue, offsets) in queues.iter().zip(&mut offsets) {
                while let Some(message) = queue.poll(Duration::from_millis(50)) {
                    offsets.push(message.unwrap().offset());
                }
            }
        }
        let stray = consumer.poll(Duration::from_millis(100));
        assert!(stray.is_none(), "{stray:?}");
        offsets
    });
    let offsets = found.await.unwrap();
    assert!(offsets.iter().all(|o| o.is_sorted()), "{offsets:?}");
    assert_eq!(offsets.iter().map(Vec::len).sum::<usize>(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_fences_the_instance_it_copies() {
    let cluster = Cluster::start("clone").await;
    let original = cluster.instance(cluster.settings(), Do(async |r| pass_on(r)));
    cluster.publish(0..50).await;
    cluster.read(Topic::Images, 50).await;
    let clone = cluster.instance(cluster.settings(), Do(async |r| pass_on(r)));
    eventually("clone ready", || clone.status.ready()).await;
    cluster.publish(50..100).await;
    let error = original.ended().await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    let copies = cluster.read(Topic::Images, 100).await;
    assert_each_once_in_order(&copies, 0..100);
    clone.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_committed_before_it_stops() {
    let cluster = Cluster::start("drain").await;
    let started = Arc::new(AtomicU32::new(0));
    let gate = Arc::new(AtomicBool::new(false));
    let (count, open) = (started.clone(), gate.clone());
    let instance = cluster.instance(
        cluster.settings(),
        Do(move |record| {
            let (count, open) = (count.clone(), open.clone());
            async move {
                count.fetch_add(1, SeqCst);
                while !open.load(SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                pass_on(record)
            }
        }),
    );
    cluster.publish(0..40).await;
    eventually("all taken", || started.load(SeqCst) == 40).await;
    instance.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!instance.status.ready());
    gate.store(true, SeqCst);
    instance.stop().await.unwrap();
    let copies = cluster.read(Topic::Images, 40).await;
    assert_each_once_in_order(&copies, 0..40);
    assert_eq!(started.load(SeqCst), 40, "no record was worked on twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_the_topic_refuses_for_its_size_becomes_a_dead_letter() {
    let cluster = Cluster::start("size").await;
    cluster.publish(0..10).await;
    let instance = cluster.instance(
        cluster.settings(),
        Do(async |record: Record| match number(&record) {
            5 => Outcome::Done(vec![Output::new(Topic::Images, None, vec![0; 3 << 20])]),
            _ => pass_on(record),
        }),
    );
    cluster.read(Topic::Images, 9).await;
    let letters = cluster.read(Topic::DeadLetters, 1).await;
    let reason = letters[0].headers.text(headers::REASON);
    assert_eq!(reason, Some(Reason::TooLarge.as_str()));
    instance.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_opens_the_circuit_instead_of_emptying_the_topic_into_dead_letters() {
    let cluster = Cluster::start("circuit").await;
    cluster.publish(0..100).await;
    let healthy = Arc::new(AtomicBool::new(false));
    let settings = LoopSettings {
        breaker_min_records: 10,
        breaker_pause: Duration::from_millis(300),
        retry_budget: 2,
        max_in_flight_records: 30,
        ..cluster.settings()
    };
    let world = healthy.clone();
    let instance = cluster.instance(
        settings,
        Do(move |record| {
            let fine = world.load(SeqCst);
            async move {
                if fine {
                    pass_on(record)
                } else {
                    Outcome::retry("storage is away")
                }
            }
        }),
    );
    eventually("unready", || {
        let why = instance.status.unready_because();
        why.iter().any(|why| why.contains("circuit"))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    healthy.store(true, SeqCst);
    let copies = cluster.read(Topic::Images, 100).await;
    assert_each_once_in_order(&copies, 0..100);
    eventually("ready again", || instance.status.ready()).await;
    instance.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_when_the_brokers_come_back() {
    let mut cluster = Cluster::start("outage").await;
    let settings = LoopSettings {
        max_in_flight_records: 10,
        ..cluster.settings()
    };
    let instance = cluster.instance(
        settings,
        Do(async |record| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            pass_on(record)
        }),
    );
    cluster.publish(0..300).await;
    for _ in 0..2 {
        if !cluster.interrupt(Duration::from_millis(1500)).await {
            break;
        }
        assert!(instance.status.alive());
    }
    cluster.publish(300..400).await;
    let copies = cluster.read(Topic::Images, 400).await;
    assert_each_once_in_order(&copies, 0..400);
    instance.stop().await.unwrap();
}

#[tokio::test]
async fn waits_for_brokers_that_are_not_there_yet_and_stops_when_asked() {
    let shutdown = CancellationToken::new();
    let status = Status::new();
    let looping = sightline_stream::run(
        Do(async |r| pass_on(r)),
        Spec {
            service: "early",
            input: Topic::Ingest,
        },
        Config {
            kafka: KafkaSettings::at("127.0.0.1:9"),
            looping: LoopSettings::defaults(),
        },
        Metrics::unregistered(),
        status.clone(),
        shutdown.clone(),
    );
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(status.alive() && !status.ready());
        shutdown.cancel();
    };
    let both = async { tokio::join!(looping, stopping) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
    ended.unwrap();
}
