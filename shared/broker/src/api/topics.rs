//! Requests that create, extend and delete topics.

use super::{NODE, NONE, Node, storage, text};
use crate::topics::Error;
use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
        CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::CreatableTopic, create_topics_response::CreatableTopicResult,
        delete_topics_request::DeleteTopicState, delete_topics_response::DeletableTopicResult,
    },
};

pub(crate) fn code(error: &Error) -> i16 {
    match error {
        Error::Exists => ResponseError::TopicAlreadyExists,
        Error::Unknown => ResponseError::UnknownTopicOrPartition,
        Error::Name(_) => ResponseError::InvalidTopicException,
        Error::Partitions(_) => ResponseError::InvalidPartitions,
        Error::Settings(_) => ResponseError::InvalidConfig,
        Error::Storage(error) => return storage(error),
    }
    .code()
}

pub(crate) fn create(node: &Node, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let dry = request.validate_only;
    let topics = request.topics.into_iter().map(|topic| {
        let out = CreatableTopicResult::default().with_name(topic.name.clone());
        match make(node, topic, dry) {
            Ok((id, partitions)) => out
                .with_error_code(NONE)
                .with_topic_id(id)
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(Vec::new())),
            Err((code, message)) => out
                .with_error_code(code)
                .with_error_message(Some(text(&message)))
                .with_configs(Some(Vec::new())),
        }
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn make(node: &Node, topic: CreatableTopic, dry: bool) -> Result<(uuid::Uuid, i32), (i16, String)> {
    let told = |error: ResponseError, message: &str| (error.code(), message.to_owned());
    let mut partitions = if topic.num_partitions == -1 {
        1
    } else {
        topic.num_partitions
    };
    if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, -1 | 1) {
            return Err(told(
                ResponseError::InvalidReplicationFactor,
                "a single node has a replication factor of 1",
            ));
        }
    } else {
        if topic.assignments.iter().any(|a| a.broker_ids != [NODE]) {
            return Err(told(
                ResponseError::InvalidReplicaAssignment,
                "there is one node only",
            ));
        }
        partitions = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
    }
    let overrides = topic
        .configs
        .into_iter()
        .filter_map(|c| Some((c.name.to_string(), c.value?.to_string())))
        .collect();
    let created = node.topics.create(&topic.name, partitions, overrides, dry);
    created
        .map(|topic| (topic.id, partitions))
        .map_err(|e| (code(&e), e.to_string()))
}

pub(crate) fn delete(
    node: &Node,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked = if version >= 6 {
        request.topics
    } else {
        request
            .topic_names
            .into_iter()
            .map(|name| DeleteTopicState::default().with_name(Some(name)))
            .collect()
    };
    let responses = asked.into_iter().map(|state| {
        let name = match &state.name {
            Some(name) => Some(name.to_string()),
            None => node
                .topics
                .by_id(state.topic_id)
                .map(|topic| topic.name.clone()),
        };
        let out = DeletableTopicResult::default().with_topic_id(state.topic_id);
        let Some(name) = name else {
            return out
                .with_error_code(ResponseError::UnknownTopicId.code())
                .with_name(None);
        };
        let out = out.with_name(Some(TopicName(text(&name))));
        let deleted = node
            .topics
            .delete(&name)
            .and_then(|()| Ok(node.groups.forget_topic(&name)?));
        out.with_error_code(deleted.err().map_or(NONE, |e| code(&e)))
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

pub(crate) fn grow(node: &Node, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let dry = request.validate_only;
    let results = request.topics.into_iter().map(|topic| {
        let grown = node.topics.grow(&topic.name, topic.count, dry);
        let out = CreatePartitionsTopicResult::default().with_name(topic.name);
        match grown {
            Ok(()) => out,
            Err(error) => out
                .with_error_code(code(&error))
                .with_error_message(Some(text(&error.to_string()))),
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}
