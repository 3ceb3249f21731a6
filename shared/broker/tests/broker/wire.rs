//! Every request in every announced version: the reply decodes, and the connection stays open.

use super::clients::{Rig, WAIT, send};
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse,
        RequestHeader, ResponseHeader, TopicName,
    },
    protocol::{Decodable, Encodable, Request, StrBytes},
};
use rdkafka::producer::Producer;
use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// A connection that requests are written to by hand.
pub struct Raw(TcpStream);

impl Raw {
    pub fn connect(rig: &Rig) -> Self {
        Self(TcpStream::connect(rig.bootstrap()).unwrap())
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let key = ApiKey::try_from(R::KEY).unwrap();
        let mut out = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(7);
        header
            .encode(&mut out, key.request_header_version(version))
            .unwrap();
        request
            .encode(&mut out, version)
            .unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
        self.0
            .write_all(&u32::try_from(out.len()).unwrap().to_be_bytes())
            .unwrap();
        self.0.write_all(&out).unwrap();
        let mut length = [0; 4];
        self.0
            .read_exact(&mut length)
            .unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).unwrap();
        let mut body = Bytes::from(body);
        let header =
            ResponseHeader::decode(&mut body, key.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, 7);
        let response = R::Response::decode(&mut body, version)
            .unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
        assert!(
            body.is_empty(),
            "{key:?} {version}: {} bytes too many",
            body.len()
        );
        response
    }

    fn every<R: Request>(&mut self, served: &ApiVersionsResponse, request: &impl Fn(i16) -> R) {
        let range = served
            .api_keys
            .iter()
            .find(|k| k.api_key == R::KEY)
            .unwrap();
        let least = R::VERSIONS.min.max(range.min_version);
        for version in least..=range.max_version {
            self.call(version, &request(version));
        }
    }
}

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

macro_rules! every {
    ($raw:ident, $served:ident, $($request:ident),* $(,)?) => {
        $($raw.every(&$served, &|_| kafka_protocol::messages::$request::default());)*
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn every_announced_version_is_answered() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let mut raw = Raw::connect(&rig);
    let served = raw.call(0, &ApiVersionsRequest::default());
    for (key, ceiling) in [
        (0, 10),
        (1, 16),
        (2, 7),
        (3, 12),
        (8, 9),
        (9, 9),
        (10, 2),
        (11, 5),
        (12, 3),
        (13, 1),
        (14, 3),
        (22, 4),
        (24, 0),
        (25, 0),
        (26, 1),
        (28, 3),
        (19, 4),
        (20, 1),
        (32, 1),
        (37, 0),
        (18, 3),
    ] {
        let range = served.api_keys.iter().find(|k| k.api_key == key).unwrap();
        assert!(
            range.min_version <= ceiling,
            "librdkafka speaks {key} up to {ceiling} only"
        );
    }
    every!(
        raw,
        served,
        FetchRequest,
        ListOffsetsRequest,
        OffsetFetchRequest,
        OffsetCommitRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        TxnOffsetCommitRequest,
        DescribeConfigsRequest,
        CreatePartitionsRequest,
        DeleteGroupsRequest,
        IncrementalAlterConfigsRequest,
        AlterConfigsRequest,
        OffsetDeleteRequest,
        DescribeClusterRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
    );
    raw.every(&served, &|_| {
        kafka_protocol::messages::ProduceRequest::default().with_acks(-1)
    });
    raw.every(&served, &|version| {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        kafka_protocol::messages::MetadataRequest::default().with_topics(topics)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_of_api_versions_is_told_what_is_served() {
    let rig = Rig::start();
    let mut stream = TcpStream::connect(rig.bootstrap()).unwrap();
    // ApiVersions 99, correlation id 5, and nothing else.
    stream
        .write_all(&[0, 0, 0, 8, 0, 18, 0, 99, 0, 0, 0, 5])
        .unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    let mut body = Bytes::from(body).slice(4..);
    let response = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert!(!response.api_keys.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_its_connection_and_no_other() {
    let rig = Rig::start();
    let mut good = Raw::connect(&rig);
    for bytes in [
        &[0xff, 0xff, 0xff, 0xff][..],
        &[0, 0, 0, 2, 1, 2],
        &[0, 0, 0, 9, 0, 0, 0, 9, 1, 1, 1, 1, 1],
        &[0x7f, 0, 0, 0, 1],
    ] {
        let mut bad = TcpStream::connect(rig.bootstrap()).unwrap();
        bad.write_all(bytes).unwrap();
        bad.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = bad.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    good.call(3, &ApiVersionsRequest::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_of_every_version_carry_records_and_aborted_transactions() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.transactional("a");
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "gone").await.unwrap();
    producer.abort_transaction(WAIT).unwrap();
    let mut raw = Raw::connect(&rig);
    let metadata = raw.call(
        12,
        &kafka_protocol::messages::MetadataRequest::default().with_topics(None),
    );
    let id = metadata.topics[0].topic_id;
    for version in 4..=16 {
        let partition = kafka_protocol::messages::fetch_request::FetchPartition::default()
            .with_partition_max_bytes(1 << 20);
        let topic = kafka_protocol::messages::fetch_request::FetchTopic::default()
            .with_partitions(vec![partition]);
        let topic = if version < 13 {
            topic.with_topic(name("t"))
        } else {
            topic.with_topic_id(id)
        };
        let request = FetchRequest::default()
            .with_isolation_level(1)
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let response: FetchResponse = raw.call(version, &request);
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0, "{version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (2, 2));
        let records = data.records.clone().unwrap();
        assert_eq!(
            &records[records.len() - 78..][..8],
            &1i64.to_be_bytes(),
            "the marker is at offset 1"
        );
        let aborted = data.aborted_transactions.as_ref().unwrap();
        assert_eq!((aborted.len(), aborted[0].first_offset), (1, 0));
    }
    // Nothing new: empty records, never null.
    let partition = kafka_protocol::messages::fetch_request::FetchPartition::default()
        .with_fetch_offset(2)
        .with_partition_max_bytes(1 << 20);
    let topic = kafka_protocol::messages::fetch_request::FetchTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![partition]);
    let response = raw.call(
        11,
        &FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]),
    );
    assert_eq!(
        response.responses[0].partitions[0]
            .records
            .as_ref()
            .unwrap()
            .len(),
        0
    );
}
