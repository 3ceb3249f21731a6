//! Creating and deleting topics.

use crate::{
    Error, KafkaSettings,
    client::{Quiet, blocking, connect, metadata},
};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::RDKafkaErrorCode as Code,
};
use sightline_contracts::Topic;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The full name, with the prefix of the settings.
    pub name: String,
    /// The number of partitions, at least 1.
    pub partitions: i32,
    /// Replicas of each partition, at most the number of brokers.
    pub replication: i32,
    /// Kafka's topic configuration: names and values.
    pub config: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic of the pipeline with its own retention, size limit and cleanup policy.
    pub fn of(topic: Topic, prefix: &str, partitions: i32, replication: i32) -> Self {
        let layout = topic.layout();
        let retention_ms = u64::from(layout.retention_hours) * 3_600_000;
        let config = [
            ("max.message.bytes", layout.max_message_bytes.to_string()),
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention_ms.to_string()),
        ];
        Self {
            name: format!("{prefix}{}", topic.name()),
            partitions,
            replication,
            config: config.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }
}

fn client(kafka: &KafkaSettings) -> Result<AdminClient<DefaultClientContext>, Error> {
    kafka
        .client_config("sightline-admin", &[])?
        .create()
        .map_err(Error::fatal("connect"))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// Creates the topics that do not exist and returns their names. Existing topics are not changed. On return every
/// partition has a leader.
///
/// # Errors
/// [`Error::Unreachable`] where no broker answers within half a minute; [`Error::Topic`] where a topic is refused or
/// gets no leaders in that time.
pub async fn create_topics(
    kafka: &KafkaSettings,
    topics: &[TopicSpec],
) -> Result<Vec<String>, Error> {
    let new: Vec<NewTopic<'_>> = topics.iter().map(new_topic).collect();
    let names: Vec<String> = topics.iter().map(|t| t.name.clone()).collect();
    // An admin client does not tell why it can't reach the brokers; a consumer does.
    let (consumer, first) = (consumer(kafka)?, names.first().cloned());
    let consumer = blocking(move || {
        metadata(&consumer, first.as_deref(), PATIENCE)?;
        Ok(consumer)
    })
    .await?;
    let results = client(kafka)?
        .create_topics(&new, &options())
        .await
        .map_err(Error::transient("create topics"))?;
    let mut created = Vec::new();
    for result in results {
        match result {
            Ok(name) => created.push(name),
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let problem = format!("could not be created: {code}");
                return Err(Error::Topic { topic, problem });
            }
        }
    }
    blocking(move || wait_for_leaders(&consumer, &names)).await?;
    Ok(created)
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(spec.replication);
    let new = NewTopic::new(&spec.name, spec.partitions, replication);
    spec.config
        .iter()
        .fold(new, |new, (key, value)| new.set(key, value))
}

fn wait_for_leaders(consumer: &BaseConsumer<Quiet>, names: &[String]) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    for name in names {
        loop {
            let found = consumer.fetch_metadata(Some(name), Duration::from_secs(5));
            let led = found.is_ok_and(|metadata| {
                metadata.topics().iter().all(|topic| {
                    let mut partitions = topic.partitions().iter();
                    topic.error().is_none()
                        && !topic.partitions().is_empty()
                        && partitions.all(|p| p.leader() >= 0)
                })
            });
            if led {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::Topic {
                    topic: name.clone(),
                    problem: "has no leaders yet".to_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Deletes topics and their records. Topics that do not exist are ignored.
///
/// # Errors
/// [`Error::Topic`] where the brokers refuse; [`Error::Transient`] where they do not answer.
pub async fn delete_topics(kafka: &KafkaSettings, names: &[String]) -> Result<(), Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = client(kafka)?
        .delete_topics(&names, &options())
        .await
        .map_err(Error::transient("delete topics"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, Code::UnknownTopicOrPartition | Code::UnknownTopic)) => {}
            Err((topic, code)) => {
                let problem = format!("could not be deleted: {code}");
                return Err(Error::Topic { topic, problem });
            }
        }
    }
    Ok(())
}

fn consumer(kafka: &KafkaSettings) -> Result<BaseConsumer<Quiet>, Error> {
    let mut config = kafka.client_config("sightline-admin", &[])?;
    config.set("allow.auto.create.topics", "false");
    connect(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_become_topic_configuration() {
        let tensors = TopicSpec::of(Topic::Tensors, "p-", 3, 1);
        assert_eq!(tensors.name, "p-tensors");
        let expected = [
            ("max.message.bytes", "8388608"),
            ("cleanup.policy", "delete"),
            ("retention.ms", "86400000"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(tensors.config, expected);
    }
}
