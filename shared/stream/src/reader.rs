//! A reader of a whole topic, for tools and tests. It joins no group and reads committed records only.

use crate::{
    Error, KafkaSettings, Record,
    client::{Quiet, connect, partition_count},
};
use bytes::Bytes;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Where reading starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The first record that each partition still has.
    Beginning,
    /// Only what is committed after the reader was opened.
    End,
    /// At most this many offsets before the end of each partition.
    Tail(i64),
    /// These partitions at these offsets, and no others.
    At(BTreeMap<i32, i64>),
}

/// Reads committed records of all partitions: those of one partition in the order of their offsets, those of several in
/// no particular order. All calls block.
pub struct Reader {
    consumer: BaseConsumer<Quiet>,
    partitions: usize,
    /// Partitions read to their end.
    ended: BTreeSet<i32>,
}

impl Reader {
    /// Opens a topic by its full name, with the prefix of the settings.
    ///
    /// # Errors
    /// [`Error::Topic`] where there is no such topic.
    pub fn open(kafka: &KafkaSettings, topic: &str, start: Start) -> Result<Self, Error> {
        let mut config = kafka.client_config("sightline-reader", &[])?;
        config
            // The client library requires a group. It is never joined, and nothing is committed to it.
            .set("group.id", "sightline-reader")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", "8388608")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", "32768");
        let consumer = connect(&config)?;
        let count = partition_count(&consumer, topic)?.ok_or_else(|| Error::Topic {
            topic: topic.to_owned(),
            problem: "does not exist".to_owned(),
        })?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places(&consumer, topic, count, start)? {
            list.add_partition_offset(topic, partition, offset)
                .map_err(Error::fatal("assign"))?;
        }
        consumer.assign(&list).map_err(Error::fatal("assign"))?;
        Ok(Self {
            consumer,
            partitions: list.count(),
            ended: BTreeSet::new(),
        })
    }

    /// The next record, or none where `longest` is over first.
    ///
    /// # Errors
    /// [`Error::Fatal`] where the client library gives up. Errors that may pass are waited out.
    pub fn next(&mut self, longest: Duration) -> Result<Option<Record>, Error> {
        self.read(longest, false)
    }

    /// The next record, or none where all partitions have been read to their end.
    ///
    /// # Errors
    /// [`Error::Transient`] where neither happens within `longest`.
    pub fn next_before_end(&mut self, longest: Duration) -> Result<Option<Record>, Error> {
        let record = self.read(longest, true)?;
        if record.is_none() && !self.at_end() {
            return Err(Error::Transient {
                doing: "read to the end".to_owned(),
                source: KafkaError::NoMessageReceived,
            });
        }
        Ok(record)
    }

    /// Whether every partition had been read to its end when it was read last.
    pub fn at_end(&self) -> bool {
        self.ended.len() == self.partitions
    }

    fn read(&mut self, longest: Duration, stop_at_end: bool) -> Result<Option<Record>, Error> {
        let deadline = Instant::now() + longest;
        loop {
            if stop_at_end && self.at_end() {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                Some(Ok(message)) => {
                    let mut record = Record::without_value(message.topic(), &message);
                    record.value = message.payload().map(Bytes::copy_from_slice);
                    self.ended.remove(&record.partition);
                    return Ok(Some(record));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ended.insert(partition);
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(Error::fatal("read")(error));
                }
                Some(Err(error)) => tracing::debug!(%error, "reader"),
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        }
    }
}

fn places(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    count: usize,
    start: Start,
) -> Result<Vec<(i32, Offset)>, Error> {
    let all = 0..count as i32;
    match start {
        Start::Beginning => Ok(all.map(|p| (p, Offset::Beginning)).collect()),
        Start::At(offsets) => Ok(offsets
            .into_iter()
            .map(|(p, offset)| (p, Offset::Offset(offset)))
            .collect()),
        Start::End => before_the_end(consumer, topic, count, 0),
        Start::Tail(offsets) => before_the_end(consumer, topic, count, offsets),
    }
}

fn before_the_end(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    count: usize,
    offsets: i64,
) -> Result<Vec<(i32, Offset)>, Error> {
    let from_end = |partition| {
        let (start, end) = consumer
            .fetch_watermarks(topic, partition, Duration::from_secs(10))
            .map_err(Error::transient(format!("read the end of {topic}")))?;
        Ok((partition, Offset::Offset((end - offsets).max(start))))
    };
    (0..count as i32).map(from_end).collect()
}
