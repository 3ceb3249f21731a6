//! Fetch: reading record batches.
//!
//! A fetch waits until it has `min_bytes` or `max_wait_ms` has passed. The records are not read here: the reply holds slices
//! of log files, which are copied to the connection piece by piece, so that a reply takes little memory.

use super::{NONE, Node, storage};
use crate::{
    log::read::{Ask, ReadError, Slice, View},
    reply::Reply,
    topics::Partition,
};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, ProducerId,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{AbortedTransaction, PartitionData},
    },
    protocol::Encodable,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Upper bound for one reply, whatever the client asks for (Kafka's broker-side `fetch.max.bytes`).
const MAX_BYTES: usize = 55 << 20;
/// The first version that names topics by id.
const IDS_SINCE: i16 = 13;
/// The first flexible version: lengths are varints and every struct ends in tagged fields.
const FLEXIBLE_SINCE: i16 = 12;

struct Asked {
    topic: FetchTopic,
    found: Option<Arc<crate::topics::Topic>>,
}

struct Found {
    data: PartitionData,
    slice: Option<Slice>,
}

pub(crate) async fn answer(
    node: &Node,
    version: i16,
    request: FetchRequest,
) -> anyhow::Result<Reply> {
    let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(wait);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let max_bytes = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(MAX_BYTES);
    let committed = request.isolation_level == 1;
    let asked: Vec<_> = request
        .topics
        .into_iter()
        .map(|topic| {
            let found = if version >= IDS_SINCE {
                node.topics.by_id(topic.topic_id)
            } else {
                node.topics.get(&topic.topic)
            };
            Asked { topic, found }
        })
        .collect();
    let notify = Arc::new(Notify::new());
    loop {
        // Before reading, so that no change in between is missed.
        if wait > 0 {
            for partition in partitions(&asked) {
                partition.waiters.add(&notify);
            }
        }
        let (found, bytes, failed) = look(&asked, version, max_bytes, committed);
        let enough = failed || bytes >= min_bytes || Instant::now() >= deadline || asked.is_empty();
        if enough || timeout_at(deadline, notify.notified()).await.is_err() {
            return encode(version, &asked, found);
        }
    }
}

fn partitions(asked: &[Asked]) -> impl Iterator<Item = &Arc<Partition>> {
    asked.iter().flat_map(|a| {
        a.topic.partitions.iter().filter_map(|p| {
            a.found
                .as_ref()
                .and_then(|topic| topic.partition(p.partition))
        })
    })
}

/// Reads what is available: the results, their bytes, and whether a partition failed.
fn look(
    asked: &[Asked],
    version: i16,
    max_bytes: usize,
    committed: bool,
) -> (Vec<Vec<Found>>, usize, bool) {
    let (mut bytes, mut failed) = (0, false);
    let mut out = Vec::with_capacity(asked.len());
    for Asked { topic, found } in asked {
        let mut of_topic = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let partition = found
                .as_ref()
                .and_then(|topic| topic.partition(wanted.partition));
            let found = match partition {
                Some(partition) => {
                    let limit = usize::try_from(wanted.partition_max_bytes)
                        .unwrap_or(0)
                        .min(max_bytes.saturating_sub(bytes));
                    let ask = Ask {
                        offset: wanted.fetch_offset,
                        max_bytes: limit,
                        committed,
                        at_least_one: bytes == 0,
                    };
                    let read = partition.log.lock().read(ask);
                    described(wanted, read, committed)
                }
                None => {
                    let error = if version >= IDS_SINCE {
                        ResponseError::UnknownTopicId
                    } else {
                        ResponseError::UnknownTopicOrPartition
                    };
                    failure(wanted, error.code())
                }
            };
            bytes += found.slice.as_ref().map_or(0, |s| s.length);
            failed |= found.data.error_code != NONE;
            of_topic.push(found);
        }
        out.push(of_topic);
    }
    (out, bytes, failed)
}

fn failure(wanted: &FetchPartition, code: i16) -> Found {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_error_code(code)
        .with_high_watermark(-1);
    Found {
        data: data.with_records(Some(Bytes::new())),
        slice: None,
    }
}

fn described(wanted: &FetchPartition, read: Result<View, ReadError>, committed: bool) -> Found {
    let view = match read {
        Ok(view) => view,
        Err(ReadError::OutOfRange) => {
            return failure(wanted, ResponseError::OffsetOutOfRange.code());
        }
        Err(ReadError::Deleted) => {
            return failure(wanted, ResponseError::UnknownTopicOrPartition.code());
        }
        Err(ReadError::Storage(error)) => return failure(wanted, storage(&error)),
    };
    let aborted = view.aborted.iter().map(|a| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(a.producer_id))
            .with_first_offset(a.first_offset)
    });
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_high_watermark(view.high_watermark)
        .with_last_stable_offset(view.last_stable)
        .with_log_start_offset(view.log_start)
        .with_aborted_transactions(committed.then(|| aborted.collect()))
        .with_records(Some(Bytes::new()));
    Found {
        data,
        slice: view.slice,
    }
}

/// Writes the response around the slices. Each partition is encoded without records; that leaves an empty length at a
/// known position near its end, which is replaced.
fn encode(version: i16, asked: &[Asked], found: Vec<Vec<Found>>) -> anyhow::Result<Reply> {
    let flexible = version >= FLEXIBLE_SINCE;
    let mut reply = Reply::default();
    let mut out = BytesMut::new();
    out.put_i32(0);
    if version >= 7 {
        // No error, no fetch session.
        out.put_i16(NONE);
        out.put_i32(0);
    }
    put_count(&mut out, flexible, asked.len());
    for (Asked { topic, .. }, of_topic) in asked.iter().zip(found) {
        if version >= IDS_SINCE {
            out.put_slice(topic.topic_id.as_bytes());
        } else if flexible {
            put_count(&mut out, true, topic.topic.len());
            out.put_slice(topic.topic.as_bytes());
        } else {
            out.put_u16(u16::try_from(topic.topic.len())?);
            out.put_slice(topic.topic.as_bytes());
        }
        put_count(&mut out, flexible, of_topic.len());
        for Found { data, slice } in of_topic {
            data.encode(&mut out, version)?;
            if let Some(slice) = slice {
                // Flexible: empty records (1) and no tagged fields (0). Else: an empty array's 32-bit length.
                out.truncate(out.len() - if flexible { 2 } else { 4 });
                put_count(&mut out, flexible, slice.length);
                reply.push(out.split().freeze());
                reply.push_slice(slice);
                put_no_tags(&mut out, flexible);
            }
        }
        put_no_tags(&mut out, flexible);
    }
    put_no_tags(&mut out, flexible);
    reply.push(out.freeze());
    Ok(reply)
}

fn put_no_tags(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}

/// A length: as an `i32`, or plus one as an unsigned varint in flexible versions.
fn put_count(out: &mut BytesMut, flexible: bool, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX >> 1);
    if !flexible {
        out.put_u32(count);
        return;
    }
    let mut rest = count + 1;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
