//! Decoding a request without carrying it out, for fuzzing.

use super::dispatch::Request;
use crate::log::{
    batch::{self, Header},
    records::Records,
};
use bytes::Bytes;
use kafka_protocol::{messages as m, messages::ApiKey as K, protocol::Decodable};

/// Something to do with the type of a request.
pub(crate) trait Typed {
    type Out;

    fn with<T: Decodable + PartialEq + std::fmt::Debug>(self) -> Self::Out;
}

/// Does it with the type of `api`'s requests; `None` where it isn't served.
pub(crate) fn typed<W: Typed>(api: K, what: W) -> Option<W::Out> {
    Some(match api {
        K::Produce => what.with::<m::ProduceRequest>(),
        K::Fetch => what.with::<m::FetchRequest>(),
        K::ListOffsets => what.with::<m::ListOffsetsRequest>(),
        K::Metadata => what.with::<m::MetadataRequest>(),
        K::OffsetCommit => what.with::<m::OffsetCommitRequest>(),
        K::OffsetFetch => what.with::<m::OffsetFetchRequest>(),
        K::FindCoordinator => what.with::<m::FindCoordinatorRequest>(),
        K::JoinGroup => what.with::<m::JoinGroupRequest>(),
        K::Heartbeat => what.with::<m::HeartbeatRequest>(),
        K::LeaveGroup => what.with::<m::LeaveGroupRequest>(),
        K::SyncGroup => what.with::<m::SyncGroupRequest>(),
        K::DescribeGroups => what.with::<m::DescribeGroupsRequest>(),
        K::ListGroups => what.with::<m::ListGroupsRequest>(),
        K::ApiVersions => what.with::<m::ApiVersionsRequest>(),
        K::CreateTopics => what.with::<m::CreateTopicsRequest>(),
        K::DeleteTopics => what.with::<m::DeleteTopicsRequest>(),
        K::DeleteRecords => what.with::<m::DeleteRecordsRequest>(),
        K::InitProducerId => what.with::<m::InitProducerIdRequest>(),
        K::OffsetForLeaderEpoch => what.with::<m::OffsetForLeaderEpochRequest>(),
        K::AddPartitionsToTxn => what.with::<m::AddPartitionsToTxnRequest>(),
        K::AddOffsetsToTxn => what.with::<m::AddOffsetsToTxnRequest>(),
        K::EndTxn => what.with::<m::EndTxnRequest>(),
        K::TxnOffsetCommit => what.with::<m::TxnOffsetCommitRequest>(),
        K::DescribeConfigs => what.with::<m::DescribeConfigsRequest>(),
        K::AlterConfigs => what.with::<m::AlterConfigsRequest>(),
        K::CreatePartitions => what.with::<m::CreatePartitionsRequest>(),
        K::DeleteGroups => what.with::<m::DeleteGroupsRequest>(),
        K::IncrementalAlterConfigs => what.with::<m::IncrementalAlterConfigsRequest>(),
        K::OffsetDelete => what.with::<m::OffsetDeleteRequest>(),
        K::DescribeCluster => what.with::<m::DescribeClusterRequest>(),
        K::DescribeTransactions => what.with::<m::DescribeTransactionsRequest>(),
        K::ListTransactions => what.with::<m::ListTransactionsRequest>(),
        _ => return None,
    })
}

/// Decodes one frame, without its length, and the batches of a `Produce`.
///
/// # Errors
/// If a connection would be closed for it. A refused batch is no error, because the reply reports it.
pub(crate) fn frame(bytes: Bytes) -> anyhow::Result<()> {
    let request = Request::parse(bytes)?;
    if request.api == K::Produce {
        produce(&request.decode()?);
        return Ok(());
    }
    typed(request.api, Body(&request)).unwrap_or_else(|| anyhow::bail!("not served"))
}

struct Body<'a>(&'a Request);

impl Typed for Body<'_> {
    type Out = anyhow::Result<()>;

    fn with<T: Decodable + PartialEq + std::fmt::Debug>(self) -> Self::Out {
        self.0.decode::<T>().map(drop)
    }
}

/// # Panics
/// If a batch is read beyond its end, which is a bug.
fn produce(request: &m::ProduceRequest) {
    let partitions = request.topic_data.iter().flat_map(|t| &t.partition_data);
    for bytes in partitions.filter_map(|p| p.records.as_ref()) {
        if let Ok(header) = Header::validate(bytes) {
            assert_eq!(header.size, bytes.len(), "a valid batch is a whole one");
        }
        // A fuzzer can't produce a valid checksum, so the records are read even with a wrong one.
        batch::marker_outcome(bytes);
        let records = bytes.get(batch::HEADER..).unwrap_or_default();
        let read: usize = Records::new(records)
            .filter_map(Result::ok)
            .map(|record| record.bytes.len())
            .sum();
        assert!(read <= records.len(), "records are read once");
    }
}
