//! The supported requests and versions.

use super::NONE;
use ApiKey as K;
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ApiVersionsResponse, api_versions_response::ApiVersion},
};

/// Lowest and highest version of every request served.
///
/// The lowest are Kafka's own, at or below what librdkafka 2.12 speaks. The highest stop before the second version of the
/// transaction protocol (Produce 12, EndTxn 5, TxnOffsetCommit 5), which clients use only where the broker announces it.
pub(crate) const SERVED: &[(ApiKey, i16, i16)] = &[
    (K::Produce, 3, 11),
    (K::Fetch, 4, 16),
    (K::ListOffsets, 1, 8),
    (K::Metadata, 0, 12),
    (K::OffsetCommit, 2, 9),
    (K::OffsetFetch, 1, 9),
    (K::FindCoordinator, 0, 4),
    (K::JoinGroup, 0, 9),
    (K::Heartbeat, 0, 4),
    (K::LeaveGroup, 0, 5),
    (K::SyncGroup, 0, 5),
    (K::DescribeGroups, 0, 5),
    (K::ListGroups, 0, 5),
    (K::ApiVersions, 0, 4),
    (K::CreateTopics, 2, 7),
    (K::DeleteTopics, 1, 6),
    (K::DeleteRecords, 0, 2),
    (K::InitProducerId, 0, 5),
    (K::OffsetForLeaderEpoch, 2, 4),
    (K::AddPartitionsToTxn, 0, 3),
    (K::AddOffsetsToTxn, 0, 4),
    (K::EndTxn, 0, 4),
    (K::TxnOffsetCommit, 0, 4),
    (K::DescribeConfigs, 1, 4),
    (K::AlterConfigs, 0, 2),
    (K::CreatePartitions, 0, 3),
    (K::DeleteGroups, 0, 2),
    (K::IncrementalAlterConfigs, 0, 1),
    (K::OffsetDelete, 0, 0),
    (K::DescribeCluster, 0, 1),
    (K::DescribeTransactions, 0, 0),
    (K::ListTransactions, 0, 1),
];

pub(crate) fn is_served(api: ApiKey, version: i16) -> bool {
    SERVED
        .iter()
        .any(|&(key, min, max)| key == api && (min..=max).contains(&version))
}

/// The answer to `ApiVersions`; an unknown version of it is answered in version 0 with an error, as clients expect.
pub(crate) fn answer(version_known: bool) -> ApiVersionsResponse {
    let keys = SERVED.iter().map(|&(key, min, max)| {
        // librdkafka assumes that a broker without the lowest versions of Produce can't compress. Kafka 4 announces them
        // for the same reason, and like this broker does not serve them.
        let min = if key == K::Produce { 0 } else { min };
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(min)
            .with_max_version(max)
    });
    let error = if version_known {
        NONE
    } else {
        ResponseError::UnsupportedVersion.code()
    };
    ApiVersionsResponse::default()
        .with_error_code(error)
        .with_api_keys(keys.collect())
}
