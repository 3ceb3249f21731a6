//! Processes that die of a record, or are killed at random.

mod process;

use crate::support::*;
use process::Process;
use rdkafka::{ClientConfig, TopicPartitionList, consumer::Consumer as _};
use sightline_contracts::{Reason, Topic, headers};
use sightline_stream::{Reader, Start};
use std::{os::unix::process::ExitStatusExt as _, time::Duration};

const SIGABRT: i32 = 6;
/// Two deaths without progress, and three while the record runs alone. Earlier deaths may have moved the offset a
/// little.
const FEWEST_DEATHS: usize = 5;
const MOST_DEATHS: usize = 15;

/// Restarts the instance whenever it dies, as an orchestrator would, until it has died `most` times or `through` is
/// true.
async fn outlive(
    cluster: &Cluster,
    instance: &str,
    killer: u32,
    most: usize,
    through: impl Fn() -> bool,
) -> (Process, usize) {
    let mut deaths = 0;
    let mut process = Process::start(cluster, instance, Some(killer));
    loop {
        if through() {
            return (process, deaths);
        }
        if let Some(status) = process.ended() {
            assert_eq!(status.signal(), Some(SIGABRT), "{status}");
            deaths += 1;
            if deaths == most {
                return (process, deaths);
            }
            process = Process::start(cluster, instance, Some(killer));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a dead letter is there.
fn letters(cluster: &Cluster) -> impl Fn() -> bool + use<> {
    let name = cluster.name(Topic::DeadLetters);
    let reader = Reader::open(&cluster.kafka, &name, Start::Beginning).unwrap();
    let reader = std::sync::Mutex::new(reader);
    move || {
        let next = reader.lock().unwrap().next(Duration::from_millis(1));
        next.unwrap().is_some()
    }
}

/// The committed offsets of `ingest` and their metadata.
async fn marks(cluster: &Cluster) -> Vec<(i64, String)> {
    let topic = cluster.name(Topic::Ingest);
    let bootstrap = cluster.kafka.bootstrap.clone();
    let group = format!("{}test", cluster.prefix);
    let read = tokio::task::spawn_blocking(move || {
        let consumer: rdkafka::consumer::BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", group)
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&topic, 0, PARTITIONS - 1);
        let held = consumer.committed_offsets(list, Duration::from_secs(20));
        let held = held.unwrap();
        let element = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            (e.offset().to_raw().unwrap(), e.metadata().to_owned())
        };
        held.elements().iter().map(element).collect()
    });
    read.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_kills_its_process_is_set_aside_and_its_neighbours_come_out_once() {
    let cluster = Cluster::start("killer").await;
    cluster.publish(0..90).await;
    let there = letters(&cluster);
    let (process, deaths) = outlive(&cluster, "0", 45, MOST_DEATHS, there).await;
    println!("{deaths} deaths");
    assert!((FEWEST_DEATHS..MOST_DEATHS).contains(&deaths), "{deaths}");
    cluster.publish(90..120).await;
    let copies = cluster.read(Topic::Images, 119).await;
    assert_each_once_in_order_without(&copies, 0..120, &[45]);
    let letter = &cluster.read(Topic::DeadLetters, 1).await[0];
    let header = |name| letter.headers.text(name).unwrap();
    assert_eq!(number(letter), 45);
    assert_eq!(header(headers::REASON), Reason::Crashed.as_str());
    assert_eq!(header(headers::ATTEMPTS), "3");
    let error = header(headers::ERROR);
    assert!(error.starts_with("3 processes died"), "{error}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_count_whoever_owns_the_partition() {
    let cluster = Cluster::start("heir").await;
    cluster.publish(0..60).await;
    let (_, first) = outlive(&cluster, "0", 30, 3, || false).await;
    // It has to wait for the session of the dead to end.
    let there = letters(&cluster);
    let (heir, second) = outlive(&cluster, "heir", 30, MOST_DEATHS, there).await;
    println!("{first} and {second} deaths");
    let deaths = first + second;
    assert!((FEWEST_DEATHS..MOST_DEATHS).contains(&deaths), "{deaths}");
    let copies = cluster.read(Topic::Images, 59).await;
    assert_each_once_in_order_without(&copies, 0..60, &[30]);
    cluster.read(Topic::DeadLetters, 1).await;
    heir.stop().await;
}

/// 20 times; `SIGHTLINE_TEST_KILLS` says how often otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_under_load_no_record_is_set_aside() {
    let kills = std::env::var("SIGHTLINE_TEST_KILLS").map_or(20, |n| n.parse().unwrap());
    let cluster = Cluster::start("random").await;
    let mut published = 0;
    for _ in 0..kills {
        cluster.publish(published..published + 100).await;
        published += 100;
        let doomed = Process::start(&cluster, "0", None);
        let life = rand::random_range(50..1200);
        tokio::time::sleep(Duration::from_millis(life)).await;
        doomed.kill().await;
    }
    let last = Process::start(&cluster, "0", None);
    let copies = cluster.read(Topic::Images, published as usize).await;
    assert_each_once_in_order(&copies, 0..published);
    cluster.read(Topic::DeadLetters, 0).await;
    last.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_marks_its_partitions_and_takes_the_marks_away_when_it_ends_cleanly() {
    let mut cluster = Cluster::start("marks").await;
    // No offset is committed yet, and no record there.
    let process = Process::start(&cluster, "0", None);
    let owned = async |cluster: &Cluster| {
        let marks = marks(cluster).await;
        let ours =
            |text: &str| text.starts_with("sightline1 owner=") && text.ends_with(" deaths=0");
        marks
            .iter()
            .all(|(offset, text)| *offset == 0 && ours(text))
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !owned(&cluster).await {
        assert!(std::time::Instant::now() < deadline, "not claimed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.interrupt(Duration::ZERO).await;
    assert!(owned(&cluster).await, "the broker forgot");
    cluster.publish(0..30).await;
    cluster.read(Topic::Images, 30).await;
    process.stop().await;
    let marks = marks(&cluster).await;
    assert!(marks.iter().all(|(_, text)| text.is_empty()), "{marks:?}");
    assert!(marks.iter().any(|(offset, _)| *offset > 0), "{marks:?}");
}
