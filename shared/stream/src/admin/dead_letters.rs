//! Reading dead letters.

use crate::{Error, KafkaSettings, Reader, Record, Start};
use sightline_contracts::{Reason, Topic, headers};
use std::time::Duration;

/// A dead letter and what its headers say.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Place, original key, value and headers.
    pub record: Record,
    pub stage: Option<String>,
    pub reason: Option<Reason>,
    pub attempts: Option<u32>,
    /// Without the prefix of the settings.
    pub source_topic: Option<String>,
    pub source_partition: Option<i32>,
    pub source_offset: Option<i64>,
    pub error: Option<String>,
    /// The bytes that the original value had, where it is not here: it was more than the topic takes.
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

/// The dead letters there are, one after the other, from all partitions; ends where the topic ends. Blocks.
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
