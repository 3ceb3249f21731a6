//! Consumer lag.

use crate::{
    Error, KafkaSettings, Reader, Start,
    client::{blocking, connect, partition_count},
};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _};
use std::{collections::BTreeMap, time::Duration};

/// The lag of a consumer group in one partition.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PartitionLag {
    /// The group's full name.
    pub group: String,
    /// The topic's full name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset that the group reads next; none where it has committed nothing yet.
    pub committed: Option<i64>,
    /// One past the last committed record; records of open transactions do not count.
    pub end: i64,
    /// Offsets from `committed` to `end`: records and, between them, transaction markers. 0 where no record is left.
    pub lag: i64,
}

/// The lag of a group in each partition of a topic. Both names are full ones, with the prefix of the settings.
///
/// # Errors
/// [`Error::Topic`] where there is no such topic; [`Error::Transient`] where a broker does not answer within ten
/// seconds.
pub async fn lag(
    kafka: &KafkaSettings,
    group: &str,
    topic: &str,
) -> Result<Vec<PartitionLag>, Error> {
    let (kafka, group, topic) = (kafka.clone(), group.to_owned(), topic.to_owned());
    blocking(move || lag_of(&kafka, &group, &topic)).await
}

fn lag_of(kafka: &KafkaSettings, group: &str, topic: &str) -> Result<Vec<PartitionLag>, Error> {
    let mut config = kafka.client_config("sightline-admin", &[])?;
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    let consumer = connect(&config)?;
    let patience = Duration::from_secs(10);
    let count = partition_count(&consumer, topic)?.ok_or_else(|| Error::Topic {
        topic: topic.to_owned(),
        problem: "does not exist".to_owned(),
    })?;
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, count as i32 - 1);
    let committed = consumer
        .committed_offsets(list, patience)
        .map_err(Error::transient(format!("read the offsets of {group}")))?;
    let mut lags = Vec::new();
    for element in committed.elements() {
        let partition = element.partition();
        let (start, end) = consumer
            .fetch_watermarks(topic, partition, patience)
            .map_err(Error::transient(format!("read the end of {topic}")))?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let from = committed.unwrap_or(start).clamp(start, end.max(start));
        lags.push(PartitionLag {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition,
            committed,
            end,
            lag: end - from,
        });
    }
    without_trailing_markers(kafka, topic, &mut lags)?;
    Ok(lags)
}

/// The last offsets of a partition may be transaction markers, which no consumer sees. Reads the last offsets to find
/// the last record.
fn without_trailing_markers(
    kafka: &KafkaSettings,
    topic: &str,
    lags: &mut [PartitionLag],
) -> Result<(), Error> {
    const TAIL: i64 = 16;
    let starts: BTreeMap<i32, i64> = lags
        .iter()
        .filter(|lag| lag.lag > 0)
        .map(|lag| (lag.partition, lag.end - lag.lag.min(TAIL)))
        .collect();
    if starts.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::open(kafka, topic, Start::At(starts.clone()))?;
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    while let Some(record) = reader.next_before_end(Duration::from_secs(10))? {
        last.insert(record.partition, record.offset);
    }
    for lag in lags {
        let Some(&start) = starts.get(&lag.partition) else {
            continue;
        };
        let from = lag.end - lag.lag;
        match last.get(&lag.partition) {
            Some(&offset) => lag.end = offset + 1,
            // Only markers were found. If all of the lag was read, no record is left.
            None => lag.end = start,
        }
        lag.lag = (lag.end - from).max(0);
    }
    Ok(())
}
