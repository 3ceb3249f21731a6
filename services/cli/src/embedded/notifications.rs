//! Publishes the notifications of the embedded S3 store in the topic `ingest`.

use anyhow::Context;
use bytes::Bytes;
use sightline_contracts::Topic;
use sightline_objectstore::Notifier;
use sightline_stream::{KafkaSettings, Message, Publisher, Reader, Start};
use std::{collections::HashSet, error::Error, time::Duration};

/// Records to read at the end of each partition. A process that was killed may have published them without acknowledging
/// the objects. There can be one for each connection of the store, which allows fewer than this.
const TAIL: i64 = 1024;

/// Publishes the store's events. After a crash the store repeats events byte for byte; an event that was published before
/// the crash is not published again.
pub(crate) struct Publish {
    publisher: Publisher,
    published: HashSet<Bytes>,
}

impl Publish {
    pub(crate) async fn connect(kafka: &KafkaSettings) -> anyhow::Result<Self> {
        let settings = kafka.clone();
        let published = tokio::task::spawn_blocking(move || tail(&settings))
            .await?
            .context("can't read the end of the topic ingest")?;
        Ok(Self {
            publisher: Publisher::new(kafka)?,
            published,
        })
    }
}

/// The notifications at the end of the topic.
fn tail(kafka: &KafkaSettings) -> Result<HashSet<Bytes>, sightline_stream::Error> {
    let topic = Topic::Ingest.name();
    let mut reader = Reader::open(kafka, topic, Start::Tail(TAIL))?;
    let mut published = HashSet::new();
    while let Some(record) = reader.next_before_end(Duration::from_secs(30))? {
        published.extend(record.value);
    }
    Ok(published)
}

#[async_trait::async_trait]
impl Notifier for Publish {
    async fn notify(&self, key: &str, event: Bytes) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.published.contains(&event) {
            return Ok(());
        }
        self.publisher
            .send(&Message::new(Topic::Ingest.name(), key.to_owned(), event))
            .await?;
        Ok(())
    }
}
