//! Single requests of Kafka's protocol, in the versions that librdkafka uses, with their unfiltered responses.

use crate::broker::bootstrap;
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, BrokerId, EndTxnRequest, FetchRequest,
        GroupId, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest, ProducerId, TopicName,
        TransactionalId,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::StrBytes,
    records::{
        Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType,
    },
};
use sightline_testkit::{
    eventually,
    wire::{Coordinates, coordinator, leader},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// An error code by its name; `None` is success.
pub type Code = Option<ResponseError>;

pub const READ_UNCOMMITTED: i8 = 0;
pub const READ_COMMITTED: i8 = 1;
pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

pub fn code(error: i16) -> Code {
    ResponseError::try_from_code(error)
}

pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}

pub fn group_id(value: &str) -> GroupId {
    GroupId(text(value))
}

pub fn transactional_id(value: &str) -> TransactionalId {
    TransactionalId(text(value))
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Repeats a request while the response is an error that clients retry.
#[track_caller]
pub fn settled<T>(what: &str, mut ask: impl FnMut() -> (Code, T)) -> (Code, T) {
    eventually(what, || {
        let (code, answer) = ask();
        let waits = matches!(
            code,
            Some(
                ResponseError::CoordinatorLoadInProgress
                    | ResponseError::CoordinatorNotAvailable
                    | ResponseError::NotCoordinator
                    | ResponseError::ConcurrentTransactions
            )
        );
        (!waits).then_some((code, answer))
    })
}

/// The producer id and epoch that InitProducerId returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: i64,
    pub epoch: i16,
}

/// InitProducerId, with or without a transactional id.
#[track_caller]
pub fn init(id: Option<&str>, timeout_ms: i32) -> Result<Identity, ResponseError> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(id.map(transactional_id))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let (code, identity) = settled("InitProducerId", || {
        let mut connection = match id {
            Some(id) => coordinator(bootstrap(), Coordinates::Transaction, id),
            None => sightline_testkit::wire::Connection::open(bootstrap().first()).unwrap(),
        };
        let answer = connection.call(&request, 4).unwrap();
        let identity = Identity {
            id: answer.producer_id.0,
            epoch: answer.producer_epoch,
        };
        (code(answer.error_code), identity)
    });
    code.map_or(Ok(identity), Err)
}

/// A batch as a producer would write it.
#[derive(Clone, Debug)]
pub struct Batch {
    pub identity: Identity,
    pub transactional: bool,
    pub sequence: i32,
    pub timestamp: i64,
    pub records: Vec<(Option<Bytes>, Option<Bytes>)>,
}

impl Batch {
    pub fn plain(values: &[&str]) -> Self {
        let nobody = Identity { id: -1, epoch: -1 };
        Self::of(nobody, -1, values)
    }

    pub fn of(identity: Identity, sequence: i32, values: &[&str]) -> Self {
        let value = |value: &&str| (None, Some(Bytes::copy_from_slice(value.as_bytes())));
        Self {
            identity,
            transactional: false,
            sequence,
            timestamp: now_ms(),
            records: values.iter().map(value).collect(),
        }
    }

    pub fn transactional(identity: Identity, sequence: i32, values: &[&str]) -> Self {
        Self {
            transactional: true,
            ..Self::of(identity, sequence, values)
        }
    }

    pub fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    pub fn encode(&self) -> Bytes {
        let record = |(offset, (key, value)): (usize, &(Option<Bytes>, Option<Bytes>))| Record {
            transactional: self.transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: self.identity.id,
            producer_epoch: self.identity.epoch,
            timestamp_type: TimestampType::Creation,
            offset: offset as i64,
            sequence: self.sequence + if self.sequence < 0 { 0 } else { offset as i32 },
            timestamp: self.timestamp,
            key: key.clone(),
            value: value.clone(),
            headers: Default::default(),
        };
        let records: Vec<Record> = self.records.iter().enumerate().map(record).collect();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        bytes.freeze()
    }
}

/// A Produce request for one batch in one partition.
pub fn produce_request(
    topic: &str,
    partition: i32,
    id: Option<&str>,
    records: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records));
    ProduceRequest::default()
        .with_transactional_id(id.map(transactional_id))
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic_name(topic))
                .with_partition_data(vec![data]),
        ])
}

/// Produce of encoded bytes to partition 0: the whole response.
#[track_caller]
pub fn produce_bytes(topic: &str, id: Option<&str>, records: Bytes) -> PartitionProduceResponse {
    let request = produce_request(topic, 0, id, records);
    let answer = leader(bootstrap(), topic, 0).call(&request, 9).unwrap();
    answer.responses[0].partition_responses[0].clone()
}

/// Produce to partition 0: the error and the base offset.
#[track_caller]
pub fn produce(topic: &str, id: Option<&str>, batch: &Batch) -> (Code, i64) {
    let answer = produce_bytes(topic, id, batch.encode());
    (code(answer.error_code), answer.base_offset)
}

/// AddPartitionsToTxn for partition 0.
#[track_caller]
pub fn add_partition(id: &str, identity: Identity, topic: &str) -> Code {
    let topics = AddPartitionsToTxnTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(id))
        .with_v3_and_below_producer_id(ProducerId(identity.id))
        .with_v3_and_below_producer_epoch(identity.epoch)
        .with_v3_and_below_topics(vec![topics]);
    settled("AddPartitionsToTxn", || {
        let mut connection = coordinator(bootstrap(), Coordinates::Transaction, id);
        let answer = connection.call(&request, 0).unwrap();
        let topic = &answer.results_by_topic_v3_and_below[0];
        let partition = &topic.results_by_partition[0];
        (code(partition.partition_error_code), ())
    })
    .0
}

/// AddOffsetsToTxn.
#[track_caller]
pub fn add_offsets(id: &str, identity: Identity, group: &str) -> Code {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_group_id(group_id(group));
    settled("AddOffsetsToTxn", || {
        let mut connection = coordinator(bootstrap(), Coordinates::Transaction, id);
        (code(connection.call(&request, 0).unwrap().error_code), ())
    })
    .0
}

/// EndTxn.
#[track_caller]
pub fn end(id: &str, identity: Identity, committed: bool) -> Code {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_committed(committed);
    settled("EndTxn", || {
        let mut connection = coordinator(bootstrap(), Coordinates::Transaction, id);
        (code(connection.call(&request, 1).unwrap().error_code), ())
    })
    .0
}

/// A Fetch request for one partition, without a session.
pub fn fetch_request(
    topic: &str,
    partition: i32,
    offset: i64,
    isolation: i8,
    max_wait_ms: i32,
) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_isolation_level(isolation)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(vec![partition]),
        ])
}

/// Fetch from partition 0 without waiting: the whole response.
#[track_caller]
pub fn fetch(topic: &str, offset: i64, isolation: i8) -> PartitionData {
    let request = fetch_request(topic, 0, offset, isolation, 0);
    let answer = leader(bootstrap(), topic, 0).call(&request, 11).unwrap();
    assert_eq!(code(answer.error_code), None);
    answer.responses[0].partitions[0].clone()
}

/// The records in a response to Fetch, including those of control batches.
#[track_caller]
pub fn records(data: &PartitionData) -> Vec<Record> {
    let mut bytes = data.records.clone().unwrap();
    let sets = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
    sets.into_iter().flat_map(|set| set.records).collect()
}

/// ListOffsets for partition 0: the offset and its timestamp.
#[track_caller]
pub fn list_offset(topic: &str, timestamp: i64, isolation: i8) -> (i64, i64) {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition]),
        ]);
    let answer = leader(bootstrap(), topic, 0).call(&request, 7).unwrap();
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(code(partition.error_code), None);
    (partition.offset, partition.timestamp)
}

/// Waits until partition 0 has no open transaction, so that the last stable offset is the end of the log. Returns it.
#[track_caller]
pub fn await_stable(topic: &str, end: i64) {
    eventually("every transaction's marker", || {
        let data = fetch(topic, 0, READ_UNCOMMITTED);
        (data.high_watermark == end && data.last_stable_offset == end).then_some(())
    });
}
