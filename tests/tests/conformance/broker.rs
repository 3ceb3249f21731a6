//! The broker under test, and functions that most tests use.

use crate::raw::{READ_UNCOMMITTED, fetch_request};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use sightline_broker::{Broker, Config};
use sightline_testkit::{Admin, Bootstrap, consumer, eventually, unique, wire::leader};
use std::{path::Path, sync::OnceLock, time::Duration};

pub const LIMIT: Duration = Duration::from_secs(30);

/// The Kafka that the variable names, or an embedded broker that runs until the process ends.
pub fn bootstrap() -> &'static Bootstrap {
    static CHOSEN: OnceLock<Bootstrap> = OnceLock::new();
    CHOSEN.get_or_init(|| Bootstrap::from_env().unwrap_or_else(embedded))
}

fn embedded() -> Bootstrap {
    static RUNNING: OnceLock<Broker> = OnceLock::new();
    let folders = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    sweep(&folders);
    let mut config = Config::new(folders.join(std::process::id().to_string()));
    config.maintenance_interval = Duration::from_secs(1);
    let broker = RUNNING.get_or_init(|| Broker::start(config).unwrap());
    Bootstrap::new(broker.bootstrap())
}

/// Removes the folders of earlier runs. A static is never dropped, so a run can't remove its own folder.
fn sweep(folders: &Path) {
    for folder in std::fs::read_dir(folders).into_iter().flatten().flatten() {
        let running = Path::new("/proc").join(folder.file_name()).exists();
        if !running {
            // Another run may remove it at the same time.
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// A new topic with a unique name. Every broker knows it, and every partition has a leader.
#[track_caller]
pub fn topic(partitions: i32, config: &[(&str, &str)]) -> String {
    let name = unique("topic");
    let admin = Admin::new(bootstrap()).unwrap();
    admin.create_topic(&name, partitions, config).unwrap();
    await_topic(&name, partitions);
    name
}

/// Waits until every broker knows a new topic, because Kafka's brokers learn of it one after the other.
#[track_caller]
pub fn await_topic(name: &str, partitions: i32) {
    for broker in bootstrap().each() {
        for partition in 0..partitions {
            eventually("a leader that answers", || {
                let request = fetch_request(name, partition, 0, READ_UNCOMMITTED, 0);
                let answer = leader(&broker, name, partition).call(&request, 11).ok()?;
                let answer = answer.responses.first()?.partitions.first()?;
                (answer.error_code == 0).then_some(())
            });
        }
    }
}

/// A transactional producer, initialised.
#[track_caller]
pub fn transactional(id: &str) -> BaseProducer {
    let producer = sightline_testkit::producer(bootstrap(), &[("transactional.id", id)]).unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer
}

/// Sends `values` to partition 0 and waits until each is acknowledged.
#[track_caller]
pub fn send(producer: &BaseProducer, topic: &str, values: &[&str]) {
    for value in values {
        let record = BaseRecord::<str, str>::to(topic)
            .partition(0)
            .payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// A record as a consumer received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// All records of partition 0 that a consumer with this isolation level receives, up to the end.
#[track_caller]
pub fn read(topic: &str, isolation: &str) -> Vec<Seen> {
    let consumer = consumer(
        bootstrap(),
        &[
            ("isolation.level", isolation),
            ("enable.partition.eof", "true"),
        ],
    )
    .unwrap();
    let mut start = TopicPartitionList::new();
    start
        .add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&start).unwrap();
    read_to_end(&consumer)
}

#[track_caller]
fn read_to_end(consumer: &BaseConsumer) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        match consumer.poll(LIMIT).expect("neither a record nor the end") {
            Ok(message) => seen.push(Seen {
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            }),
            Err(KafkaError::PartitionEOF(_)) => return seen,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The offsets and values that [`read`] saw.
#[track_caller]
pub fn values(topic: &str, isolation: &str) -> Vec<(i64, String)> {
    read(topic, isolation)
        .into_iter()
        .map(|seen| {
            let value = seen.value.unwrap_or_default();
            (seen.offset, String::from_utf8(value).unwrap())
        })
        .collect()
}
