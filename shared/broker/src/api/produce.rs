//! Produce: appending record batches.

use super::{NONE, Node, storage, text};
use crate::{
    log::{
        AppendError,
        batch::{Header, Invalid},
        partition::Appended,
    },
    txn::state::Refused,
};
use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

/// The first version with TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 11;

/// `None` if the client wants no reply (`acks=0`).
pub(crate) fn answer(
    node: &Node,
    version: i16,
    request: ProduceRequest,
) -> Option<ProduceResponse> {
    let acks = request.acks;
    let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str());
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let stored = if matches!(acks, -1..=1) {
                store(
                    node,
                    version,
                    transactional_id,
                    &topic.name,
                    data.index,
                    data.records.unwrap_or_default(),
                )
            } else {
                Err((ResponseError::InvalidRequiredAcks.code(), None))
            };
            partitions.push(told(data.index, stored));
        }
        topics.push(
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_partition_responses(partitions),
        );
    }
    (acks != 0).then(|| ProduceResponse::default().with_responses(topics))
}

type Failure = (i16, Option<String>);

fn told(index: i32, stored: Result<(Appended, i64), Failure>) -> PartitionProduceResponse {
    let out = PartitionProduceResponse::default().with_index(index);
    match stored {
        Ok((appended, start)) => out
            .with_error_code(NONE)
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.append_time_ms)
            .with_log_start_offset(start),
        Err((code, message)) => out
            .with_error_code(code)
            .with_base_offset(-1)
            .with_error_message(message.map(|m| text(&m))),
    }
}

fn store(
    node: &Node,
    version: i16,
    transactional_id: Option<&str>,
    topic: &str,
    index: i32,
    bytes: Bytes,
) -> Result<(Appended, i64), Failure> {
    let unknown = || (ResponseError::UnknownTopicOrPartition.code(), None);
    let partition = node.topics.partition(topic, index).ok_or_else(unknown)?;
    let header = Header::validate(&bytes).map_err(invalid)?;
    let append = || {
        let appended = partition.append(bytes, header).map_err(|e| refused(&e))?;
        Ok((appended, partition.log.lock().start()))
    };
    if !header.is_transactional() {
        return append();
    }
    let Some(id) = transactional_id else {
        return Err((
            ResponseError::TransactionalIdAuthorizationFailed.code(),
            None,
        ));
    };
    let topic_partition = (topic.to_owned(), index);
    let producer = (header.producer_id, header.producer_epoch);
    node.transactions
        .within(
            id,
            producer,
            |t| t.partitions.contains(&topic_partition),
            append,
        )
        .unwrap_or_else(|error| {
            let code = match error {
                Refused::ProducerFenced => ResponseError::InvalidProducerEpoch,
                Refused::InvalidProducerIdMapping => ResponseError::InvalidProducerIdMapping,
                Refused::ConcurrentTransactions => ResponseError::NotEnoughReplicas,
                _ if version >= ABORTABLE_SINCE => ResponseError::TransactionAbortable,
                _ => ResponseError::InvalidTxnState,
            };
            Err((
                code.code(),
                Some("the partition is not part of an open transaction of this producer".into()),
            ))
        })
}

fn invalid(invalid: Invalid) -> Failure {
    let code = match invalid {
        Invalid::Checksum => ResponseError::CorruptMessage,
        Invalid::Short | Invalid::Length | Invalid::Magic(_) => ResponseError::InvalidRecord,
    };
    (code.code(), Some(invalid.to_string()))
}

fn refused(error: &AppendError) -> Failure {
    let code = match error {
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge.code(),
        AppendError::Epoch => ResponseError::InvalidProducerEpoch.code(),
        AppendError::Sequence => ResponseError::OutOfOrderSequenceNumber.code(),
        AppendError::Transaction => ResponseError::InvalidTxnState.code(),
        AppendError::Timestamp => ResponseError::InvalidTimestamp.code(),
        AppendError::Record(_) => ResponseError::InvalidRecord.code(),
        AppendError::Deleted => ResponseError::UnknownTopicOrPartition.code(),
        AppendError::Storage(error) => storage(error),
    };
    (code, Some(error.to_string()))
}
