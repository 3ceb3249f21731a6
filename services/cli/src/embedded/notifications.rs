//! From the embedded S3 store into the topic `ingest`.

use anyhow::Context;
use bytes::Bytes;
use sightline_contracts::Topic;
use sightline_objectstore::Notifier;
use sightline_stream::{KafkaSettings, Message, Publisher, Reader, Start};
use std::{collections::HashSet, error::Error, time::Duration};

/// Records at the end of each partition that may be the answerless last words of a process that was killed: more than
/// the store serves connections.
const TAIL: i64 = 1024;

/// Publishes the store's events. An event that was published before a crash and is repeated after it, byte for byte,
/// is not published again.
pub struct Publish {
    publisher: Publisher,
    published: HashSet<Bytes>,
}

impl Publish {
    pub async fn connect(kafka: &KafkaSettings) -> anyhow::Result<Self> {
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

/// The last notifications there are.
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
