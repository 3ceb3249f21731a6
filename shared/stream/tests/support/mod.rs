//! A cluster with topics of the test's own, and running instances of the loop.

use sightline_broker::Broker;
use sightline_contracts::Topic;
use sightline_stream::{
    CancellationToken, Config, Error, KafkaSettings, LoopSettings, Message, Metrics, Outcome,
    Publisher, Reader, Record, Spec, Stage, Start, Status, admin,
};
use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

pub const PARTITIONS: i32 = 3;

/// Apache Kafka at `SIGHTLINE_TEST_BOOTSTRAP`, or an embedded broker of the test's own.
pub struct Cluster {
    pub kafka: KafkaSettings,
    pub prefix: String,
    embedded: Option<(Broker, tempfile::TempDir)>,
}

impl Cluster {
    pub async fn start(test: &str) -> Self {
        log();
        let (bootstrap, broker) = match std::env::var("SIGHTLINE_TEST_BOOTSTRAP") {
            Ok(bootstrap) => (bootstrap, None),
            Err(_) => {
                let data = tempfile::tempdir().unwrap();
                let broker = Broker::start(sightline_broker::Config::new(data.path())).unwrap();
                (broker.bootstrap(), Some((broker, data)))
            }
        };
        let cluster = Self {
            kafka: KafkaSettings::at(bootstrap),
            prefix: format!("{test}-{:08x}-", rand::random::<u32>()),
            embedded: broker,
        };
        let specs: Vec<_> = [Topic::Ingest, Topic::Images, Topic::DeadLetters]
            .map(|topic| admin::TopicSpec::of(topic, &cluster.prefix, PARTITIONS, 1))
            .into();
        admin::create_topics(&cluster.kafka, &specs).await.unwrap();
        cluster
    }

    /// Stops the embedded broker for a while; false where the cluster is another one.
    pub async fn interrupt(&mut self, pause: Duration) -> bool {
        let Some((broker, data)) = self.embedded.take() else {
            return false;
        };
        let listen = broker.local_addr();
        broker.shutdown().await;
        tokio::time::sleep(pause).await;
        let config = sightline_broker::Config {
            listen,
            ..sightline_broker::Config::new(data.path())
        };
        self.embedded = Some((Broker::start(config).unwrap(), data));
        true
    }

    pub fn name(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    pub fn settings(&self) -> LoopSettings {
        settings(&self.prefix)
    }

    /// Publishes numbered records to `ingest`: key `k<n mod 20>`, value `n`, every third so long that it is not copied.
    pub async fn publish(&self, numbers: std::ops::Range<u32>) {
        let publisher = Publisher::new(&self.kafka).unwrap();
        let message = |n: u32| {
            Message::new(
                self.name(Topic::Ingest),
                format!("k{}", n % 20),
                match n % 3 {
                    0 => format!("{n:<50000}"),
                    _ => n.to_string(),
                },
            )
        };
        let messages: Vec<_> = numbers.map(message).collect();
        publisher.send_all(&messages).await.unwrap();
    }

    /// Starts an instance that reads `ingest`.
    pub fn instance<S: Stage>(&self, settings: LoopSettings, stage: S) -> Instance {
        self.measured(settings, stage, Metrics::unregistered())
    }

    /// As [`instance`](Self::instance), with these metrics.
    pub fn measured<S: Stage>(
        &self,
        settings: LoopSettings,
        stage: S,
        metrics: Metrics,
    ) -> Instance {
        let (status, shutdown) = (Status::new(), CancellationToken::new());
        let spec = Spec {
            service: "test",
            input: Topic::Ingest,
        };
        let looping = sightline_stream::run(
            stage,
            spec,
            Config {
                kafka: self.kafka.clone(),
                looping: settings,
            },
            metrics,
            status.clone(),
            shutdown.clone(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(looping);
        Instance {
            tasks,
            status,
            shutdown,
        }
    }

    /// Reads committed records until `count` are there; fails after a minute.
    pub async fn read(&self, topic: Topic, count: usize) -> Vec<Record> {
        let (kafka, name) = (self.kafka.clone(), self.name(topic));
        tokio::task::spawn_blocking(move || {
            let mut reader = Reader::open(&kafka, &name, Start::Beginning).unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut records = Vec::new();
            while records.len() < count && Instant::now() < deadline {
                records.extend(reader.next(Duration::from_millis(200)).unwrap());
            }
            // Nothing may follow.
            records.extend(reader.next(Duration::from_millis(300)).unwrap());
            assert_eq!(records.len(), count, "records in {name}");
            records
        })
        .await
        .unwrap()
    }
}

/// Settings of a quick instance.
pub fn settings(prefix: &str) -> LoopSettings {
    LoopSettings {
        topic_prefix: prefix.to_owned(),
        retry_base: Duration::from_millis(5),
        session_timeout: Duration::from_secs(6),
        ..LoopSettings::defaults()
    }
}

pub fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "warn,librdkafka=error".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init()
        .ok();
}

pub struct Instance {
    tasks: JoinSet<Result<(), Error>>,
    pub status: Status,
    pub shutdown: CancellationToken,
}

impl Instance {
    pub async fn stop(self) -> Result<(), Error> {
        self.shutdown.cancel();
        self.ended().await
    }

    /// Waits for it to end; fails after half a minute.
    pub async fn ended(mut self) -> Result<(), Error> {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.tasks.join_next());
        ended.await.unwrap().unwrap().unwrap()
    }

    /// Drops the loop, which has the effect of killing the process.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A stage from a closure.
pub struct Do<F>(pub F);

impl<F, R> Stage for Do<F>
where
    F: Fn(Record) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send,
{
    fn process(&self, record: Record) -> impl Future<Output = Outcome> + Send {
        (self.0)(record)
    }
}

pub fn text(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap_or_default().to_vec()).unwrap()
}

pub fn number(record: &Record) -> u32 {
    text(record).trim_end().parse().unwrap()
}

/// Each number of the range exactly once, and for each key in the order it was published.
pub fn assert_each_once_in_order(records: &[Record], numbers: std::ops::Range<u32>) {
    assert_each_once_in_order_without(records, numbers, &[]);
}

/// As [`assert_each_once_in_order`], with some numbers missing.
pub fn assert_each_once_in_order_without(
    records: &[Record],
    numbers: std::ops::Range<u32>,
    missing: &[u32],
) {
    let mut all: Vec<u32> = records.iter().map(number).collect();
    all.sort_unstable();
    let wanted = numbers.filter(|n| !missing.contains(n));
    assert_eq!(all, wanted.collect::<Vec<_>>());
    let mut by_key: BTreeMap<_, Vec<(i64, u32)>> = BTreeMap::new();
    for record in records {
        let key = (record.key.clone(), record.partition);
        by_key
            .entry(key)
            .or_default()
            .push((record.offset, number(record)));
    }
    assert!(by_key.len() <= 20, "a key went to two partitions");
    for (key, mut seen) in by_key {
        seen.sort_unstable();
        assert!(
            seen.is_sorted_by_key(|(_, number)| *number),
            "{key:?}: {seen:?}"
        );
    }
}
