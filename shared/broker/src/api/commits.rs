//! Requests about committed offsets, with and without a transaction.

use super::{NONE, Node, groups::error_code, owned, text};
use crate::{
    clock,
    group::{
        Committer,
        member::Refused,
        offsets::{Committed, Offsets, TopicPartition},
    },
    txn::state,
};
use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        OffsetFetchRequest, OffsetFetchResponse, TopicName, TxnOffsetCommitRequest,
        TxnOffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
        txn_offset_commit_response::{
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
    protocol::StrBytes,
};

/// Longest metadata kept with an offset (Kafka's `offset.metadata.max.bytes`).
const MAX_METADATA: usize = 4096;

/// The offsets of a request: those that can be committed, and an error code for each partition that can't.
struct Sorted {
    good: Vec<(TopicPartition, Committed)>,
    /// By topic, in the order asked.
    codes: Vec<(TopicName, Vec<(i32, i16)>)>,
}

impl Sorted {
    fn new() -> Self {
        Self {
            good: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn topic(&mut self, name: TopicName) {
        self.codes.push((name, Vec::new()));
    }

    /// Adds one offset of the topic that was named last.
    fn offset(
        &mut self,
        node: &Node,
        index: i32,
        offset: i64,
        leader_epoch: i32,
        metadata: Option<&StrBytes>,
    ) {
        let Some((topic, codes)) = self.codes.last_mut() else {
            return;
        };
        let metadata = owned(metadata).unwrap_or_default();
        let error = if node.topics.partition(topic, index).is_none() {
            Some(ResponseError::UnknownTopicOrPartition)
        } else if metadata.len() > MAX_METADATA {
            Some(ResponseError::OffsetMetadataTooLarge)
        } else {
            None
        };
        codes.push((index, error.map_or(NONE, |e| e.code())));
        if error.is_none() {
            let committed = Committed {
                offset,
                leader_epoch,
                metadata,
                at_ms: clock::now_ms(),
            };
            self.good.push(((topic.to_string(), index), committed));
        }
    }

    /// The codes; all are `error` if the whole request failed.
    fn codes(self, error: i16) -> impl Iterator<Item = (TopicName, Vec<(i32, i16)>)> {
        let code = move |own| if error == NONE { own } else { error };
        self.codes.into_iter().map(move |(topic, codes)| {
            (
                topic,
                codes.into_iter().map(|(p, own)| (p, code(own))).collect(),
            )
        })
    }
}

pub(crate) fn commit(
    node: &Node,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut sorted = Sorted::new();
    for topic in request.topics {
        sorted.topic(topic.name);
        for p in topic.partitions {
            sorted.offset(
                node,
                p.partition_index,
                p.committed_offset,
                p.committed_leader_epoch,
                p.committed_metadata.as_ref(),
            );
        }
    }
    let by = Committer {
        member_id: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
    };
    let error = if request.group_id.is_empty() && by.generation >= 0 {
        ResponseError::InvalidGroupId.code()
    } else {
        let unknown_group = version >= 9
            && by.generation >= 0
            && node
                .groups
                .groups(|g| !g.contains_key(request.group_id.as_str()));
        match node
            .groups
            .commit(&request.group_id, &by, std::mem::take(&mut sorted.good))
        {
            Ok(()) => NONE,
            Err(_) if unknown_group => super::groups::code(Refused::GroupIdNotFound),
            Err(error) => error_code(&error),
        }
    };
    let topics = sorted.codes(error).map(|(topic, codes)| {
        let told = |(p, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(p)
                .with_error_code(code)
        };
        OffsetCommitResponseTopic::default()
            .with_name(topic)
            .with_partitions(codes.into_iter().map(told).collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

pub(crate) fn commit_in_transaction(
    node: &Node,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let mut sorted = Sorted::new();
    for topic in request.topics {
        sorted.topic(topic.name);
        for p in topic.partitions {
            sorted.offset(
                node,
                p.partition_index,
                p.committed_offset,
                p.committed_leader_epoch,
                p.committed_metadata.as_ref(),
            );
        }
    }
    let by = Committer {
        member_id: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    let (id, group) = (request.transactional_id.as_str(), request.group_id.as_str());
    let offsets = std::mem::take(&mut sorted.good);
    let prepared = node.transactions.within(
        id,
        (request.producer_id.0, request.producer_epoch),
        |t| t.groups.contains(group),
        || {
            node.groups
                .prepare(request.producer_id.0, group, &by, offsets)
        },
    );
    let error = match prepared {
        Ok(Ok(())) => NONE,
        Ok(Err(error)) => error_code(&error),
        Err(state::Refused::ProducerFenced) => ResponseError::InvalidProducerEpoch.code(),
        Err(state::Refused::InvalidProducerIdMapping) => {
            ResponseError::InvalidProducerIdMapping.code()
        }
        Err(state::Refused::ConcurrentTransactions) => ResponseError::ConcurrentTransactions.code(),
        Err(_) => ResponseError::InvalidTxnState.code(),
    };
    let topics = sorted.codes(error).map(|(topic, codes)| {
        let told = |(p, code)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(p)
                .with_error_code(code)
        };
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic)
            .with_partitions(codes.into_iter().map(told).collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

pub(crate) fn fetch(node: &Node, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if version >= 8 {
        let groups = node.groups.offsets(|offsets| {
            request
                .groups
                .into_iter()
                .map(|g| of_group(offsets, g, stable))
                .collect()
        });
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let wanted = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|t| {
            OffsetFetchRequestTopics::default()
                .with_name(t.name)
                .with_partition_indexes(t.partition_indexes)
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_topics(wanted);
    let found = node
        .groups
        .offsets(|offsets| of_group(offsets, group, stable));
    let topics = found.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            let out = OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_committed_offset(p.committed_offset)
                .with_metadata(p.metadata)
                .with_error_code(p.error_code);
            if version >= 5 {
                out.with_committed_leader_epoch(p.committed_leader_epoch)
            } else {
                out
            }
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn of_group(
    offsets: &Offsets,
    request: OffsetFetchRequestGroup,
    stable: bool,
) -> OffsetFetchResponseGroup {
    let group = request.group_id.to_string();
    let wanted = request.topics.unwrap_or_else(|| all_of(offsets, &group));
    let topics = wanted.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|&index| {
            let partition = (topic.name.to_string(), index);
            let out = OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(StrBytes::new()));
            if stable && offsets.is_unstable(&group, &partition) {
                return out.with_error_code(ResponseError::UnstableOffsetCommit.code());
            }
            match offsets.get(&group, &partition) {
                Some(c) => out
                    .with_committed_offset(c.offset)
                    .with_committed_leader_epoch(c.leader_epoch)
                    .with_metadata(Some(text(&c.metadata))),
                None => out,
            }
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopics::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetFetchResponseGroup::default()
        .with_topics(topics.collect())
        .with_group_id(request.group_id)
}

/// Every partition that the group has an offset for.
fn all_of(offsets: &Offsets, group: &str) -> Vec<OffsetFetchRequestTopics> {
    let mut out: Vec<OffsetFetchRequestTopics> = Vec::new();
    for ((topic, partition), _) in offsets.of_group(group) {
        match out.last_mut().filter(|last| last.name.as_str() == topic) {
            Some(last) => last.partition_indexes.push(*partition),
            None => {
                out.push(
                    OffsetFetchRequestTopics::default()
                        .with_name(TopicName(text(topic)))
                        .with_partition_indexes(vec![*partition]),
                );
            }
        }
    }
    out
}

pub(crate) fn delete(node: &Node, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id.to_string();
    let state = node
        .groups
        .groups(|groups| groups.get(&group).map(|g| g.members.is_empty()));
    let refused = match state {
        None => Some(ResponseError::GroupIdNotFound),
        Some(false) => Some(ResponseError::NonEmptyGroup),
        Some(true) => None,
    };
    if let Some(error) = refused {
        return OffsetDeleteResponse::default().with_error_code(error.code());
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let deleted = node
                .groups
                .delete_offset(&group, (topic.name.to_string(), p.partition_index));
            OffsetDeleteResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(deleted.err().map_or(NONE, |e| error_code(&e)))
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
