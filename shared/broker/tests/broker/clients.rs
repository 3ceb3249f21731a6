//! A broker in a temporary folder, and clients for it.

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::ClientConfig,
    consumer::{BaseConsumer, Consumer},
    message::{Message, OwnedMessage},
    producer::{FutureProducer, FutureRecord, Producer},
};
use sightline_broker::{Broker, Config};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const WAIT: Duration = Duration::from_secs(20);

pub struct Rig {
    pub data: TempDir,
    pub broker: Option<Broker>,
}

impl Rig {
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let broker = Some(Broker::start(Config::new(data.path())).unwrap());
        Self { data, broker }
    }

    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub fn bootstrap(&self) -> String {
        self.broker().bootstrap()
    }

    /// Ends the broker as a crash would and starts it again on the same port.
    pub fn crash_and_restart(&mut self) {
        let listen = self.broker().local_addr();
        self.broker = None;
        self.broker = Some(
            Broker::start(Config {
                listen,
                ..Config::new(self.data.path())
            })
            .unwrap(),
        );
    }

    pub async fn shutdown_and_restart(&mut self) {
        let listen = self.broker().local_addr();
        self.broker.take().unwrap().shutdown().await;
        self.broker = Some(
            Broker::start(Config {
                listen,
                ..Config::new(self.data.path())
            })
            .unwrap(),
        );
    }

    pub async fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        create(&self.bootstrap(), name, partitions, settings)
            .await
            .unwrap();
    }

    pub fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        producer(&self.bootstrap(), settings)
    }

    pub fn transactional(&self, id: &str) -> FutureProducer {
        let producer = self.producer(&[
            ("transactional.id", id),
            ("transaction.timeout.ms", "30000"),
        ]);
        producer.init_transactions(WAIT).unwrap();
        producer
    }

    pub fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
        consumer(&self.bootstrap(), group, settings)
    }

    /// Every value of a partition that a reader of this isolation sees now.
    pub fn values(&self, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
        values(&self.bootstrap(), topic, partition, isolation)
    }
}

pub fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("check.crcs", "true");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

pub fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> FutureProducer {
    let mut config = config(bootstrap, &[]);
    config.remove("check.crcs");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub fn consumer(bootstrap: &str, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(
        bootstrap,
        &[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ],
    );
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.create().unwrap()
}

pub async fn create(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), String> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let made = admin(bootstrap)
        .create_topics([&topic], &AdminOptions::new())
        .await
        .unwrap();
    made.into_iter()
        .next()
        .unwrap()
        .map(drop)
        .map_err(|(_, code)| format!("{code:?}"))
}

pub async fn send(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    value: &str,
) -> Result<i64, String> {
    let record = FutureRecord::<(), _>::to(topic)
        .partition(partition)
        .payload(value);
    let sent = producer.send(record, WAIT).await;
    sent.map(|delivery| delivery.offset)
        .map_err(|(error, _)| error.to_string())
}

pub fn values(bootstrap: &str, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
    let read = read(bootstrap, topic, partition, isolation);
    read.iter()
        .map(|m| String::from_utf8(m.payload().unwrap_or_default().to_vec()).unwrap())
        .collect()
}

/// Reads a partition from its start to its end as a reader of this isolation sees it.
pub fn read(bootstrap: &str, topic: &str, partition: i32, isolation: &str) -> Vec<OwnedMessage> {
    let consumer = consumer(
        bootstrap,
        "reader",
        &[
            ("isolation.level", isolation),
            ("enable.partition.eof", "true"),
        ],
    );
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    let mut out = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < WAIT {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => out.push(message.detach()),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return out,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    panic!("no end of partition after {WAIT:?}; read {}", out.len());
}

/// Polls all consumers until `done`.
pub fn poll_until(consumers: &[&BaseConsumer], mut done: impl FnMut(&[&BaseConsumer]) -> bool) {
    let begun = Instant::now();
    while !done(consumers) {
        assert!(begun.elapsed() < WAIT, "nothing came of it after {WAIT:?}");
        for consumer in consumers {
            if let Some(Err(error)) = consumer.poll(Duration::from_millis(10)) {
                assert!(!error.to_string().contains("Fatal"), "{error}");
            }
        }
    }
}

pub fn assigned(consumer: &BaseConsumer) -> usize {
    consumer.assignment().unwrap().count()
}
