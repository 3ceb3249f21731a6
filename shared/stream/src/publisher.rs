//! A producer outside the loop, for tools and tests.

use crate::{
    Error, Headers, KafkaSettings,
    client::{Quiet, blocking, dispose},
};
use bytes::Bytes;
use futures::future::try_join_all;
use rdkafka::{
    config::FromClientConfigAndContext as _,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
    util::Timeout,
};
use std::time::Duration;

/// A record to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The topic's full name, with the prefix of the settings.
    pub topic: String,
    /// The partition; chosen by the key's hash where not given.
    pub partition: Option<i32>,
    /// The key, which may be null.
    pub key: Option<Bytes>,
    /// The value, which may be null.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Headers,
    /// Milliseconds since the Unix epoch; the time of publishing where not given.
    pub timestamp_ms: Option<i64>,
}

impl Message {
    /// A record with a key and a value, and without headers.
    pub fn new(topic: impl Into<String>, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            key: Some(key.into()),
            value: Some(value.into()),
            ..Self::default()
        }
    }
}

/// Where a published record is in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The partition, from 0.
    pub partition: i32,
    /// The record's offset in the partition.
    pub offset: i64,
}

/// Publishes records with an idempotent producer: the client's retries neither lose nor duplicate a record.
pub struct Publisher {
    producer: Option<FutureProducer<Quiet>>,
    transactional: bool,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            dispose("publisher", producer);
        }
    }
}

impl Publisher {
    /// A publisher without transactions. Asks no broker for anything yet.
    ///
    /// # Errors
    /// [`Error::Settings`] where the settings can't work, [`Error::Fatal`] where the client library refuses them.
    pub fn new(kafka: &KafkaSettings) -> Result<Self, Error> {
        Self::create(kafka, None)
    }

    /// A publisher whose [`send_all`](Self::send_all) writes all records or none. Waits for the brokers, and fences any
    /// other producer with the same transactional id.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Transient`] where the brokers do not answer within half a minute.
    pub async fn transactional(kafka: &KafkaSettings, id: &str) -> Result<Self, Error> {
        let publisher = Self::create(kafka, Some(id))?;
        let producer = publisher.producer().clone();
        blocking(move || {
            producer
                .init_transactions(Duration::from_secs(30))
                .map_err(Error::transient("initialise transactions"))
        })
        .await?;
        Ok(publisher)
    }

    fn create(kafka: &KafkaSettings, transactional: Option<&str>) -> Result<Self, Error> {
        let largest = (64 << 20).to_string();
        let defaults = [
            ("linger.ms", "0"),
            ("message.max.bytes", &largest),
            ("partitioner", "murmur2_random"),
            ("socket.nagle.disable", "true"),
        ];
        let mut config = kafka.client_config("sightline-publisher", &defaults)?;
        config
            .set("enable.idempotence", "true")
            .set("allow.auto.create.topics", "false");
        if let Some(id) = transactional {
            config.set("transactional.id", id);
        }
        let producer = FutureProducer::from_config_and_context(&config, Quiet::default())
            .map_err(Error::fatal("create a producer"))?;
        Ok(Self {
            producer: Some(producer),
            transactional: transactional.is_some(),
        })
    }

    fn producer(&self) -> &FutureProducer<Quiet> {
        match &self.producer {
            Some(producer) => producer,
            None => unreachable!("taken on drop only"),
        }
    }

    /// Publishes one record and waits until the brokers have it.
    ///
    /// # Errors
    /// [`Error::Topic`] where the topic is not there or refuses the record, [`Error::Transient`] otherwise.
    pub async fn send(&self, message: &Message) -> Result<Place, Error> {
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
        for (key, value) in message.headers.iter() {
            let value = value.map(AsRef::as_ref);
            headers = headers.insert(Header { key, value });
        }
        let record: FutureRecord<'_, [u8], [u8]> = FutureRecord {
            topic: &message.topic,
            partition: message.partition,
            payload: message.value.as_deref(),
            key: message.key.as_deref(),
            timestamp: message.timestamp_ms,
            headers: Some(headers),
        };
        let sent = self.producer().send(record, Timeout::Never).await;
        sent.map(|delivery| Place {
            partition: delivery.partition,
            offset: delivery.offset,
        })
        .map_err(|(error, _)| publishing(&message.topic, error))
    }

    /// Publishes records and waits until the brokers have them. Within a partition they keep this order. A
    /// transactional publisher writes all of them or none; another one may have written some when it fails.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_all(&self, messages: &[Message]) -> Result<Vec<Place>, Error> {
        if !self.transactional {
            return try_join_all(messages.iter().map(|m| self.send(m))).await;
        }
        self.producer()
            .begin_transaction()
            .map_err(Error::transient("begin a transaction"))?;
        let sent = try_join_all(messages.iter().map(|m| self.send(m))).await;
        let producer = self.producer().clone();
        let committed = sent.is_ok();
        blocking(move || {
            if committed {
                producer.commit_transaction(Timeout::Never)
            } else {
                producer.abort_transaction(Timeout::Never)
            }
            .map_err(Error::transient("end a transaction"))
        })
        .await?;
        sent
    }
}

fn publishing(topic: &str, error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(
            code @ (Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::MessageSizeTooLarge
            | Code::TopicAuthorizationFailed),
        ) => Error::Topic {
            topic: topic.to_owned(),
            problem: code.to_string(),
        },
        _ => Error::transient(format!("publish to {topic}"))(error),
    }
}
