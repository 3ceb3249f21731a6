//! librdkafka clients with short time-outs, for tests.

use crate::Bootstrap;
use anyhow::{Context as _, Result, anyhow};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig,
    consumer::BaseConsumer,
    producer::BaseProducer,
};
use std::time::Duration;

fn config(bootstrap: &Bootstrap, properties: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap.as_str())
        .set("broker.address.family", "v4")
        .set("topic.metadata.refresh.fast.interval.ms", "50");
    for (key, value) in properties {
        config.set(*key, *value);
    }
    config
}

/// A producer with `linger.ms` 0. `properties` are set last.
///
/// # Errors
/// A property that librdkafka refuses.
pub fn producer(bootstrap: &Bootstrap, properties: &[(&str, &str)]) -> Result<BaseProducer> {
    let mut config = config(bootstrap, &[("linger.ms", "0")]);
    config.set("message.timeout.ms", "30000");
    for (key, value) in properties {
        if *key == "transactional.id" {
            config.remove("message.timeout.ms");
        }
        config.set(*key, *value);
    }
    Ok(config.create()?)
}

/// A consumer that starts at the beginning, without auto-commit. `properties` are set last.
///
/// # Errors
/// A property that librdkafka refuses.
pub fn consumer(bootstrap: &Bootstrap, properties: &[(&str, &str)]) -> Result<BaseConsumer> {
    let mut config = config(
        bootstrap,
        &[
            ("group.id", "none"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("fetch.wait.max.ms", "50"),
            ("check.crcs", "true"),
        ],
    );
    for (key, value) in properties {
        config.set(*key, *value);
    }
    Ok(config.create()?)
}

/// librdkafka's admin client with blocking calls.
pub struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    options: AdminOptions,
}

impl Admin {
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn new(bootstrap: &Bootstrap) -> Result<Self> {
        let limit = Some(Duration::from_secs(30));
        Ok(Self {
            client: AdminClient::from_config(&config(bootstrap, &[]))?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            options: AdminOptions::new()
                .request_timeout(limit)
                .operation_timeout(limit),
        })
    }

    /// Makes a topic with the broker's own replication factor.
    ///
    /// # Errors
    /// What the broker answered.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let topic = config.iter().fold(
            NewTopic::new(name, partitions, TopicReplication::Fixed(-1)),
            |topic, (key, value)| topic.set(key, value),
        );
        let made = self.client.create_topics([&topic], &self.options);
        single(self.runtime.block_on(made)?)
    }

    /// # Errors
    /// What the broker answered.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let deleted = self.client.delete_topics(&[name], &self.options);
        single(self.runtime.block_on(deleted)?)
    }

    /// Raises the number of partitions to `count`.
    ///
    /// # Errors
    /// What the broker answered.
    pub fn create_partitions(&self, name: &str, count: usize) -> Result<()> {
        let partitions = NewPartitions::new(name, count);
        let made = self.client.create_partitions([&partitions], &self.options);
        single(self.runtime.block_on(made)?)
    }

    pub fn client(&self) -> &AdminClient<DefaultClientContext> {
        &self.client
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

fn single<T>(results: Vec<Result<T, (String, rdkafka::types::RDKafkaErrorCode)>>) -> Result<()> {
    let first = results.into_iter().next().context("an empty answer")?;
    first
        .map(|_| ())
        .map_err(|(name, code)| anyhow!("{name}: {code:?}").context(code))
}
