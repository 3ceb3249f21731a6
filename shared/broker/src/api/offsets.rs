//! Requests about log offsets: start and end, by time, by leader epoch, and DeleteRecords.

use super::{NONE, Node, storage};
use crate::log::{PartitionLog, batch::LEADER_EPOCH};
use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

pub(crate) fn list(node: &Node, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = request.isolation_level == 1;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = topic
            .partitions
            .iter()
            .map(|asked| one(node, version, &topic.name, asked, committed))
            .collect();
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(found),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn one(
    node: &Node,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> ListOffsetsPartitionResponse {
    let out = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(-1)
        .with_offset(-1);
    let Some(partition) = node.topics.partition(topic, asked.partition_index) else {
        return out.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    let looked = look(&partition.log.lock(), asked.timestamp, committed);
    match looked {
        Ok(Some((offset, timestamp))) => {
            let out = out.with_offset(offset).with_timestamp(timestamp);
            if version >= 4 {
                out.with_leader_epoch(LEADER_EPOCH)
            } else {
                out
            }
        }
        Ok(None) => out,
        Err(error) => out.with_error_code(storage(&error)),
    }
}

/// Offset and timestamp; a read-committed client sees nothing past the last stable offset.
fn look(
    log: &PartitionLog,
    timestamp: i64,
    committed: bool,
) -> std::io::Result<Option<(i64, i64)>> {
    let limit = if committed {
        log.last_stable()
    } else {
        log.end()
    };
    Ok(match timestamp {
        LATEST => Some((limit, -1)),
        EARLIEST | EARLIEST_LOCAL => Some((log.start(), -1)),
        MAX_TIMESTAMP => log.offset_of_newest()?,
        _ => log.offset_at(timestamp)?.filter(|found| found.0 < limit),
    })
}

/// There is only one leader epoch, so it ends at the log's end.
pub(crate) fn for_leader_epoch(
    node: &Node,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let ends = topic.partitions.iter().map(|asked| {
            let out = EpochEndOffset::default().with_partition(asked.partition);
            match node.topics.partition(&topic.topic, asked.partition) {
                Some(partition) => out
                    .with_leader_epoch(LEADER_EPOCH)
                    .with_end_offset(partition.log.lock().end()),
                None => out.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
            }
        });
        let ends = ends.collect();
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(ends),
        );
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

pub(crate) fn delete_records(node: &Node, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let results = topic.partitions.iter().map(|asked| {
            let out = DeleteRecordsPartitionResult::default()
                .with_partition_index(asked.partition_index)
                .with_low_watermark(-1);
            let Some(found) = node.topics.get(&topic.name) else {
                return out.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            let Some(partition) = found.partition(asked.partition_index) else {
                return out.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            if !found.settings.delete {
                return out.with_error_code(ResponseError::PolicyViolation.code());
            }
            let deleted = partition.log.lock().delete_before(asked.offset);
            match deleted {
                Ok(Some(start)) => out.with_error_code(NONE).with_low_watermark(start),
                Ok(None) => out.with_error_code(ResponseError::OffsetOutOfRange.code()),
                Err(error) => out.with_error_code(storage(&error)),
            }
        });
        let results = results.collect();
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(results),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}
