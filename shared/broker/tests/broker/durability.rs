//! Recovery after a crash.

use super::clients::{Rig, WAIT, create, producer, send, values};
use rdkafka::producer::Producer;
use sightline_broker::{Broker, Config, Error};
use std::{
    io::BufRead,
    process::{Command, Stdio},
};

#[tokio::test(flavor = "multi_thread")]
async fn records_and_topics_outlive_a_crash_and_a_shutdown() {
    let mut rig = Rig::start();
    rig.topic("t", 2, &[("segment.bytes", "20000")]).await;
    for round in 0..4 {
        let producer = rig.producer(&[("enable.idempotence", "true")]);
        for i in 0..10 {
            send(
                &producer,
                "t",
                1,
                &format!("{round}-{i}-{}", "x".repeat(3000)),
            )
            .await
            .unwrap();
        }
        if round % 2 == 0 {
            rig.crash_and_restart()
        } else {
            rig.shutdown_and_restart().await
        }
    }
    let read = rig.values("t", 1, "read_committed");
    assert_eq!(read.len(), 40);
    for (i, value) in read.iter().enumerate() {
        assert!(value.starts_with(&format!("{}-{}-", i / 10, i % 10)));
    }
    assert!(rig.values("t", 0, "read_committed").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_stays_open_and_can_go_on() {
    let mut rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "before").await.unwrap();
    rig.crash_and_restart();
    assert!(rig.values("t", 0, "read_committed").is_empty());
    send(&producer, "t", 0, "after").await.unwrap();
    producer.commit_transaction(WAIT).unwrap();
    assert_eq!(rig.values("t", 0, "read_committed"), ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_aborted_when_its_producer_returns_anew() {
    let mut rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "lost").await.unwrap();
    rig.crash_and_restart();
    let heir = rig.transactional("a");
    heir.begin_transaction().unwrap();
    send(&heir, "t", 0, "kept").await.unwrap();
    heir.commit_transaction(WAIT).unwrap();
    rig.crash_and_restart();
    assert_eq!(rig.values("t", 0, "read_committed"), ["kept"]);
}

#[test]
fn two_brokers_on_one_folder_are_refused() {
    let rig = Rig::start();
    let second = Broker::start(Config::new(rig.data.path()));
    assert!(matches!(second, Err(Error::InUse(_))));
}

/// The broker of the next test, in a process of its own; in a normal run this does nothing.
#[test]
fn child() {
    let Ok(data) = std::env::var("BROKER_TEST_DATA") else {
        return;
    };
    let broker = Broker::start(Config::new(data)).unwrap();
    println!("\nlistening {}", broker.local_addr());
    loop {
        std::thread::park();
    }
}

struct Child(std::process::Child, String);

impl Child {
    fn start(data: &std::path::Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::child", "--nocapture"])
            .env("BROKER_TEST_DATA", data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|l| l.strip_prefix("listening ").map(str::to_owned))
            .unwrap();
        Self(child, address)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        let child = Child::start(data.path());
        if round == 0 {
            create(&child.1, "t", 1, &[("segment.bytes", "30000")])
                .await
                .unwrap();
        }
        assert_eq!(values(&child.1, "t", 0, "read_committed"), expected);
        let producer = producer(&child.1, &[("transactional.id", "a")]);
        producer.init_transactions(WAIT).unwrap();
        for i in 0..20 {
            producer.begin_transaction().unwrap();
            let value = format!("{round}-{i}-{}", "x".repeat(1000));
            send(&producer, "t", 0, &value).await.unwrap();
            if i % 5 == 4 {
                producer.abort_transaction(WAIT).unwrap();
            } else {
                producer.commit_transaction(WAIT).unwrap();
                expected.push(value);
            }
        }
        producer.begin_transaction().unwrap();
        send(&producer, "t", 0, "left open").await.unwrap();
        // The child is killed here.
    }
}
