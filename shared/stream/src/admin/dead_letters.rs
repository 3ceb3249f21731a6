//! Reading dead letters.

use crate::{Error, KafkaSettings, Reader, Record, Start};
use sightline_contracts::{Reason, Topic, headers};
use std::time::Duration;

/// A dead letter and what its headers say. A field is none where its header is missing or can't be read.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The record in `dead-letters`: its own partition and offset; the original's key, value and headers.
    pub record: Record,
    /// The service that gave up on the record.
    pub stage: Option<String>,
    /// Why it gave up.
    pub reason: Option<Reason>,
    /// How often the record was tried, from 1.
    pub attempts: Option<u32>,
    /// The topic that the original was read from, without the prefix of the settings.
    pub source_topic: Option<String>,
    /// The partition that the original was read from.
    pub source_partition: Option<i32>,
    /// The offset that the original was read from.
    pub source_offset: Option<i64>,
    /// The error as text for an operator.
    pub error: Option<String>,
    /// The length in bytes of the original's value, where the dead letter lacks it because the topic refused it for its
    /// size.
    pub value_dropped: Option<u64>,
}

impl From<Record> for DeadLetter {
    fn from(record: Record) -> Self {
        let text = |name| record.headers.text(name).map(str::to_owned);
        let number = |name| record.headers.text(name).and_then(|text| text.parse().ok());
        Self {
            stage: text(headers::STAGE),
            reason: reason(&record),
            attempts: number(headers::ATTEMPTS).and_then(|n: i64| n.try_into().ok()),
            source_topic: text(headers::SOURCE_TOPIC),
            source_partition: number(headers::SOURCE_PARTITION).and_then(|n| n.try_into().ok()),
            source_offset: number(headers::SOURCE_OFFSET),
            error: text(headers::ERROR),
            value_dropped: number(headers::VALUE_DROPPED).and_then(|n| n.try_into().ok()),
            record,
        }
    }
}

fn reason(record: &Record) -> Option<Reason> {
    record.headers.text(headers::REASON)?.parse().ok()
}

/// The dead letters of all partitions, in no particular order between partitions; ends where the topic ends. Both the
/// call and the iterator block.
///
/// # Errors
/// [`Error::Topic`] where there is no such topic; [`Error::Transient`] where the brokers are silent for ten seconds.
pub fn dead_letters(
    kafka: &KafkaSettings,
    prefix: &str,
) -> Result<impl Iterator<Item = Result<DeadLetter, Error>> + use<>, Error> {
    let topic = format!("{prefix}{}", Topic::DeadLetters.name());
    let mut reader = Reader::open(kafka, &topic, Start::Beginning)?;
    Ok(std::iter::from_fn(move || {
        let next = reader.next_before_end(Duration::from_secs(10));
        next.map(|record| record.map(DeadLetter::from)).transpose()
    }))
}
