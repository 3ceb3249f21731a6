//! A deployment of the pipeline: Kafka, an S3 store that notifies it, and services to start and stop.

use async_trait::async_trait;
use bytes::Bytes;
use sightline_broker::Broker;
use sightline_contracts::{ResultEvent, Topic};
use sightline_objectstore::{Config, Notifier, ObjectStore};
use sightline_storage::{Credentials, Objects, StorageSettings, Store};
use sightline_stream::{
    KafkaSettings, Message, Publisher, Reader, Record, Start,
    admin::{DeadLetter, TopicSpec, create_topics},
};
use sightline_testkit::{Bootstrap, Process, eventually_within, free_port, http_status, unique};
use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

pub const BUCKET: &str = "images";
pub const SERVICES: [&str; 4] = ["ingest", "preprocess", "infer", "postprocess"];
const KEYS: &str = "pipeline-test";
const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Deployment {
    pub kafka: KafkaSettings,
    prefix: String,
    s3: String,
    pub store: Store,
    publisher: Arc<Publisher>,
    _objects: ObjectStore,
    _broker: Option<Broker>,
    _data: tempfile::TempDir,
}

/// Publishes the store's events into this deployment's `ingest`.
struct Notify {
    publisher: Arc<Publisher>,
    topic: String,
}

#[async_trait]
impl Notifier for Notify {
    async fn notify(&self, key: &str, event: Bytes) -> Result<(), Box<dyn Error + Send + Sync>> {
        let message = Message::new(self.topic.clone(), key.to_owned(), event);
        self.publisher.send(&message).await?;
        Ok(())
    }
}

impl Deployment {
    /// Starts the servers and creates the topics and the bucket. Starts no service.
    pub async fn start(test: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (bootstrap, broker) = match Bootstrap::from_env() {
            Some(bootstrap) => (bootstrap.to_string(), None),
            None => {
                let config = sightline_broker::Config::new(data.path().join("broker"));
                let broker = Broker::start(config).unwrap();
                (broker.bootstrap(), Some(broker))
            }
        };
        let kafka = KafkaSettings::at(bootstrap);
        let prefix = format!("{}-", unique(test));
        let topics: Vec<_> = Topic::ALL
            .iter()
            .map(|topic| TopicSpec::of(*topic, &prefix, PARTITIONS, 1))
            .collect();
        create_topics(&kafka, &topics).await.unwrap();
        let publisher = Arc::new(Publisher::new(&kafka).unwrap());
        let notify = Notify {
            publisher: publisher.clone(),
            topic: format!("{prefix}{}", Topic::Ingest.name()),
        };
        let credentials = sightline_objectstore::Credentials {
            access_key: KEYS.into(),
            secret_key: KEYS.into(),
        };
        let objects = ObjectStore::start(Config {
            notifier: Some(Arc::new(notify)),
            ..Config::new(data.path().join("objects"), credentials)
        })
        .await
        .unwrap();
        let s3 = format!("http://{}", objects.local_addr());
        let store = connect(&s3).await;
        store.create_bucket(BUCKET).await.unwrap();
        Self {
            kafka,
            prefix,
            s3,
            store,
            publisher,
            _objects: objects,
            _broker: broker,
            _data: data,
        }
    }

    /// Starts a service and returns at once.
    pub fn service(&self, name: &'static str, instance: &str, flags: &[&str]) -> Service {
        self.service_logging(name, instance, flags, Stdio::inherit())
    }

    /// Starts a service that writes its log to `log`.
    pub fn service_logging(
        &self,
        name: &'static str,
        instance: &str,
        flags: &[&str],
        log: impl Into<Stdio>,
    ) -> Service {
        let http = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = binary(name);
        command
            .args(["--kafka-bootstrap", &self.kafka.bootstrap])
            .args(["--topic-prefix", &self.prefix, "--instance", instance])
            .args(["--http-listen", &http])
            .args(["--session-timeout", "6s", "--retry-base", "20ms"])
            .args(flags)
            .env("SIGHTLINE_LOG", "error")
            .env("AWS_ACCESS_KEY_ID", KEYS)
            .env("AWS_SECRET_ACCESS_KEY", KEYS)
            .stderr(log);
        if name != "ingest" {
            command.args(["--s3-endpoint", &self.s3]);
        }
        let process = Process::start(&mut command).unwrap();
        Service {
            name,
            process,
            http,
        }
    }

    /// Starts one instance of each service, in the order of [`SERVICES`], and waits until all are ready.
    pub fn services(&self, flags_of: impl Fn(&str) -> Vec<&'static str>) -> Vec<Service> {
        let start = |name| self.service(name, "0", &flags_of(name));
        let services: Vec<_> = SERVICES.map(start).into();
        services.iter().for_each(Service::await_ready);
        services
    }

    pub async fn put(&self, key: &str, bytes: Bytes) {
        self.store
            .put(BUCKET, key, bytes, "image/jpeg")
            .await
            .unwrap();
    }

    /// The topic's name in this deployment.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// Publishes a message that does not come from the store.
    pub async fn publish(&self, topic: Topic, value: impl Into<Bytes>) {
        let name = self.topic(topic);
        let message = Message::new(name, "k", value);
        self.publisher.send(&message).await.unwrap();
    }

    /// All records of a topic that are committed now.
    pub fn committed(&self, topic: Topic) -> Vec<Record> {
        let name = self.topic(topic);
        let mut reader = Reader::open(&self.kafka, &name, Start::Beginning).unwrap();
        std::iter::from_fn(|| reader.next_before_end(PATIENCE).unwrap()).collect()
    }

    /// Waits until a topic has this many committed records.
    #[track_caller]
    pub fn await_committed(&self, topic: Topic, count: usize) -> Vec<Record> {
        let what = format!("{count} records in {}", topic.name());
        eventually_within(PATIENCE, &what, || {
            Some(self.committed(topic)).filter(|records| records.len() >= count)
        })
    }

    /// Waits for this many results; returns them by key.
    #[track_caller]
    pub fn await_results(&self, count: usize) -> BTreeMap<String, ResultEvent> {
        let records = self.await_committed(Topic::Results, count);
        let results: BTreeMap<_, _> = records
            .iter()
            .map(|record| ResultEvent::from_json(record.value.as_deref().unwrap()).unwrap())
            .map(|event| (event.image.key.clone(), event))
            .collect();
        assert_eq!(results.len(), records.len(), "a key has two results");
        results
    }

    #[track_caller]
    pub fn await_dead_letters(&self, count: usize) -> Vec<DeadLetter> {
        let letters = self.await_committed(Topic::DeadLetters, count);
        letters.into_iter().map(DeadLetter::from).collect()
    }

    /// Checks that every stage wrote each of `count` images exactly once and that there is no dead letter.
    #[track_caller]
    pub fn assert_each_once(&self, count: usize) {
        for topic in [
            Topic::Images,
            Topic::Tensors,
            Topic::Predictions,
            Topic::Results,
        ] {
            let records = self.committed(topic);
            let keys: std::collections::BTreeSet<_> = records.iter().map(|r| &r.key).collect();
            let found = (records.len(), keys.len());
            assert_eq!(
                found,
                (count, count),
                "records and keys in {}",
                topic.name()
            );
        }
        let letters = self.committed(Topic::DeadLetters);
        assert!(letters.is_empty(), "{letters:?}");
    }

    /// Runs `sightline` against this deployment's store.
    pub fn classify(&self, arguments: &[&str]) -> Output {
        binary("sightline")
            .arg("classify")
            .args(arguments)
            .args(["--s3-endpoint", &self.s3])
            .env("AWS_ACCESS_KEY_ID", KEYS)
            .env("AWS_SECRET_ACCESS_KEY", KEYS)
            .output()
            .unwrap()
    }

    /// Runs `sightline` against this deployment's Kafka.
    pub fn tool(&self, arguments: &[&str]) -> Output {
        binary("sightline")
            .args(arguments)
            .args(["--kafka-bootstrap", &self.kafka.bootstrap])
            .args(["--topic-prefix", &self.prefix])
            .output()
            .unwrap()
    }
}

async fn connect(endpoint: &str) -> Store {
    let settings = StorageSettings {
        s3_endpoint: Some(endpoint.to_owned()),
        credentials: Some(Credentials {
            access_key: KEYS.into(),
            secret_key: KEYS.into(),
        }),
        ..StorageSettings::default()
    };
    Store::connect(&settings).await.unwrap()
}

/// The binary under this name, without the caller's settings in its environment.
pub fn binary(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline-under-test"));
    command.arg0(name);
    let ours = |name: &str| name.starts_with("SIGHTLINE_") || name.starts_with("AWS_");
    for (variable, _) in std::env::vars().filter(|(variable, _)| ours(variable)) {
        command.env_remove(variable);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

pub struct Service {
    name: &'static str,
    pub process: Process,
    http: String,
}

impl Service {
    #[track_caller]
    pub fn await_ready(&self) {
        eventually_within(PATIENCE, "the service is ready", || {
            (http_status(&self.http, "/readyz").ok()? == 200).then_some(())
        });
    }

    /// The command that a container's health check runs.
    pub fn health_check(&self) -> Command {
        let mut command = binary(self.name);
        command.args(["health", "--http-listen", &self.http]);
        command
    }

    /// Sends SIGTERM and checks that the service exits with 0.
    #[track_caller]
    pub fn stop(mut self) {
        self.process.signal("TERM").unwrap();
        let status = self.process.wait(PATIENCE);
        assert!(status.success(), "{status}");
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        sightline_testkit::http_get(&self.http, "/metrics").unwrap()
    }
}

/// The drawn scenes: file name and content, sorted by name.
pub fn scenes() -> Vec<(String, Bytes)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenes");
    let mut scenes: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), bytes.into())
        })
        .collect();
    scenes.sort();
    scenes
}

/// A file of `tests/`.
pub fn file(path: &str) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read(path).unwrap().into()
}
