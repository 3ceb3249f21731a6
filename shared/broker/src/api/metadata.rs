//! Requests about cluster metadata: this node leads every partition and coordinates every group.

use super::{Context, NODE, NONE, Node, text};
use crate::{log::batch::LEADER_EPOCH, topics::Topic};
use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
        MetadataResponse, TopicName,
        describe_cluster_response::DescribeClusterBroker,
        find_coordinator_response::Coordinator,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

pub(crate) fn answer(node: &Node, context: &Context, request: MetadataRequest) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(text(&context.advertised.0))
        .with_port(i32::from(context.advertised.1));
    let wants_all = request
        .topics
        .as_ref()
        .is_none_or(|topics| context.version == 0 && topics.is_empty());
    let topics = if wants_all {
        node.topics
            .all()
            .iter()
            .map(|topic| described(topic))
            .collect()
    } else {
        request
            .topics
            .unwrap_or_default()
            .into_iter()
            .map(|asked| one(node, asked.name, asked.topic_id))
            .collect()
    };
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&node.cluster_id)))
        .with_controller_id(NODE)
        .with_topics(topics)
}

/// Topics are never created by a metadata request.
fn one(node: &Node, name: Option<TopicName>, id: uuid::Uuid) -> MetadataResponseTopic {
    let found = match &name {
        Some(name) => node.topics.get(name),
        None => node.topics.by_id(id),
    };
    match found {
        Some(topic) => described(&topic),
        None => {
            let error = if name.is_some() {
                ResponseError::UnknownTopicOrPartition
            } else {
                ResponseError::UnknownTopicId
            };
            MetadataResponseTopic::default()
                .with_error_code(error.code())
                .with_name(name)
                .with_topic_id(id)
        }
    }
}

fn described(topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions.len()).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_id(NODE)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_error_code(NONE)
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

pub(crate) fn find_coordinator(
    context: &Context,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (host, port) = (text(&context.advertised.0), i32::from(context.advertised.1));
    if context.version <= 3 {
        return FindCoordinatorResponse::default()
            .with_node_id(NODE)
            .with_host(host)
            .with_port(port);
    }
    let found = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(NODE)
            .with_host(host.clone())
            .with_port(port)
    });
    FindCoordinatorResponse::default().with_coordinators(found.collect())
}

pub(crate) fn describe_cluster(node: &Node, context: &Context) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(NODE)
        .with_host(text(&context.advertised.0))
        .with_port(i32::from(context.advertised.1));
    DescribeClusterResponse::default()
        .with_cluster_id(text(&node.cluster_id))
        .with_controller_id(NODE)
        .with_brokers(vec![broker])
}
