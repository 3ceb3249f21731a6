//! The seeds of the fuzz target `frames`: real requests, which are written here, and inputs that fuzzing found.

use super::{clients::Rig, wire::Raw};
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        AddPartitionsToTxnRequest, ApiKey, ApiVersionsRequest, CreateTopicsRequest, FetchRequest,
        JoinGroupRequest, MetadataRequest, OffsetCommitRequest, ProduceRequest, RequestHeader,
        SyncGroupRequest, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_request::{FetchPartition, FetchTopic},
        join_group_request::JoinGroupRequestProtocol,
        metadata_request::MetadataRequestTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::{Encodable, Request, StrBytes},
};
use std::path::{Path, PathBuf};

/// Set, the test writes the seeds instead of comparing them.
const WRITE: &str = "SIGHTLINE_WRITE_SEEDS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/frames")
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(text("seed")));
    let mut out = BytesMut::new();
    let header_version = ApiKey::try_from(R::KEY)
        .unwrap()
        .request_header_version(version);
    header.encode(&mut out, header_version).unwrap();
    request.encode(&mut out, version).unwrap();
    out.to_vec()
}

/// A batch of one record, `k` = `v`, with a header, as librdkafka 2.12 writes it.
fn batch() -> Bytes {
    let record = [0x1c, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 4, b'1', b'2'];
    let mut record = record.to_vec();
    record[0] = u8::try_from((record.len() - 1) * 2).unwrap();
    let mut body = Vec::new();
    body.extend_from_slice(&0i16.to_be_bytes());
    body.extend_from_slice(&0i32.to_be_bytes());
    body.extend_from_slice(&1_700_000_000_000i64.to_be_bytes());
    body.extend_from_slice(&1_700_000_000_000i64.to_be_bytes());
    body.extend_from_slice(&(-1i64).to_be_bytes());
    body.extend_from_slice(&(-1i16).to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&record);
    let mut out = Vec::new();
    out.extend_from_slice(&0i64.to_be_bytes());
    out.extend_from_slice(&i32::try_from(9 + body.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    out.extend_from_slice(&body);
    out.into()
}

fn produce() -> ProduceRequest {
    let data = |index, records| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(records)
    };
    let topic = TopicProduceData::default()
        .with_name(TopicName(text("images")))
        .with_partition_data(vec![data(0, Some(batch())), data(1, None)]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

fn metadata() -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text("images"))));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn metadata_of_none() -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(Vec::new()))
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(42)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(TopicName(text("images")))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(500)
        .with_max_bytes(50 << 20)
        .with_isolation_level(1)
        .with_topics(vec![topic])
}

fn join() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("cooperative-sticky"))
        .with_metadata(Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06images\0\0\0\0"));
    JoinGroupRequest::default()
        .with_group_id(text("preprocess").into())
        .with_session_timeout_ms(45_000)
        .with_rebalance_timeout_ms(i32::MAX)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn sync() -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text("a"))
        .with_assignment(Bytes::from_static(b"\0\0\0\0\0\0"));
    SyncGroupRequest::default()
        .with_group_id(text("preprocess").into())
        .with_member_id(text("a"))
        .with_assignments(vec![assignment])
}

fn commit() -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(42)
        .with_committed_metadata(Some(text("m")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("images")))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(text("preprocess").into())
        .with_topics(vec![topic])
}

fn create() -> CreateTopicsRequest {
    let config = CreatableTopicConfig::default()
        .with_name(text("cleanup.policy"))
        .with_value(Some(text("compact")));
    let topic = CreatableTopic::default()
        .with_name(TopicName(text("images")))
        .with_num_partitions(4)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    CreateTopicsRequest::default().with_topics(vec![topic])
}

/// Each request in an old encoding and in the newest served.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("api-versions-0", frame(0, &ApiVersionsRequest::default())),
        ("api-versions-4", frame(4, &ApiVersionsRequest::default())),
        ("metadata-1", frame(1, &metadata())),
        ("metadata-12", frame(12, &metadata())),
        ("produce-3", frame(3, &produce())),
        ("produce-11", frame(11, &produce())),
        ("fetch-4", frame(4, &fetch())),
        ("fetch-12", frame(12, &fetch())),
        ("join-group-5", frame(5, &join())),
        ("join-group-9", frame(9, &join())),
        ("sync-group-3", frame(3, &sync())),
        ("sync-group-5", frame(5, &sync())),
        ("offset-commit-6", frame(6, &commit())),
        ("offset-commit-9", frame(9, &commit())),
        ("create-topics-4", frame(4, &create())),
        ("create-topics-7", frame(7, &create())),
        (
            "add-partitions-to-txn-3",
            frame(3, &AddPartitionsToTxnRequest::default()),
        ),
    ]
}

/// Requests that say more than they hold.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let mut metadata = frame(0, &metadata_of_none());
    let length = metadata.len() - 4;
    metadata[length..].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut compact = frame(12, &metadata_of_none());
    let length = compact.len() - 4;
    compact.splice(length..=length, [0xff, 0xff, 0xff, 0xff, 0x0f]);
    vec![
        ("metadata-0-of-150-gb", metadata),
        ("metadata-12-of-400-gb", compact),
    ]
}

fn keep(name: &str, bytes: &[u8]) {
    let path = folder().join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_default();
    assert!(
        kept == bytes,
        "{name} is not what is made here: run this test once with {WRITE}=1"
    );
}

#[test]
fn the_seeds_are_requests_that_a_connection_takes() {
    for (name, bytes) in seeds() {
        if let Err(error) = sightline_broker::check_frame(&bytes) {
            panic!("{name}: {error:#}");
        }
        keep(name, &bytes);
    }
}

#[test]
fn requests_that_say_more_than_they_hold_are_refused() {
    for (name, bytes) in hostile() {
        let refused = sightline_broker::check_frame(&bytes).unwrap_err();
        let why = refused.to_string();
        assert!(why.starts_with("a length of "), "{name}: {why}");
        keep(name, &bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_of_the_seeds_is_one_that_is_stored() {
    let rig = Rig::start();
    rig.topic("images", 2, &[]).await;
    let response = Raw::connect(&rig).call(11, &produce());
    let stored = &response.responses[0].partition_responses[0];
    assert_eq!((stored.error_code, stored.base_offset), (0, 0));
    assert_eq!(rig.values("images", 0, "read_committed"), ["v"]);
}

#[test]
fn every_frame_of_the_corpus_ends_without_a_panic() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        // Cut anywhere, and with each byte changed, it is another frame.
        for at in 0..bytes.len() {
            let _ = sightline_broker::check_frame(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] = !changed[at];
            let _ = sightline_broker::check_frame(&changed);
        }
        let _ = sightline_broker::check_frame(&bytes);
        count += 1;
    }
    assert!(count >= seeds().len() + hostile().len(), "{count} frames");
}
