//! Requests that describe and change topic settings.

use super::{NODE, NONE, Node, text};
use crate::{
    settings::{KNOWN, value},
    topics::Topic,
};
use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        alter_configs_response::AlterConfigsResourceResponse as Replaced,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
        incremental_alter_configs_request::AlterConfigsResource,
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;
const SET: i8 = 0;
const DELETE: i8 = 1;

pub(crate) fn describe(node: &Node, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let results = request
        .resources
        .into_iter()
        .map(|resource| one(node, resource, synonyms));
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn one(node: &Node, resource: DescribeConfigsResource, synonyms: bool) -> DescribeConfigsResult {
    let out = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match resource.resource_type {
        TOPIC => match node.topics.get(&resource.resource_name) {
            Some(topic) => out.with_configs(settings(&topic, &resource, synonyms)),
            None => out.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
        },
        // The broker's own settings are flags of its process.
        BROKER if resource.resource_name.as_str() == NODE.0.to_string() => out,
        _ => out.with_error_code(ResponseError::InvalidRequest.code()),
    }
}

fn settings(
    topic: &Topic,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Vec<DescribeConfigsResourceResult> {
    let wanted = |name: &str| {
        resource
            .configuration_keys
            .as_ref()
            .is_none_or(|keys| keys.iter().any(|k| k.as_str() == name))
    };
    let told = KNOWN
        .iter()
        .filter(|known| wanted(known.0))
        .map(|&(name, default, kind)| {
            let value = value(&topic.overrides, name).unwrap_or(default);
            let source = if topic.overrides.contains_key(name) {
                SOURCE_TOPIC
            } else {
                SOURCE_DEFAULT
            };
            let same = DescribeConfigsSynonym::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
                .with_source(source);
            DescribeConfigsResourceResult::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
                .with_config_source(source)
                .with_config_type(kind as i8)
                .with_synonyms(if synonyms { vec![same] } else { Vec::new() })
        });
    told.collect()
}

pub(crate) fn alter(
    node: &Node,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let dry = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let out = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match change(node, &resource, dry) {
            Ok(()) => out.with_error_code(NONE),
            Err((code, message)) => out
                .with_error_code(code)
                .with_error_message(Some(text(&message))),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn change(node: &Node, resource: &AlterConfigsResource, dry: bool) -> Result<(), (i16, String)> {
    let refused = |error: ResponseError, message: &str| Err((error.code(), message.to_owned()));
    if resource.resource_type != TOPIC {
        return refused(
            ResponseError::InvalidRequest,
            "only topics have settings that can be changed",
        );
    }
    if resource
        .configs
        .iter()
        .any(|c| !matches!(c.config_operation, SET | DELETE))
    {
        return refused(
            ResponseError::InvalidConfig,
            "settings can be set and deleted, not appended to",
        );
    }
    let changed = node.topics.configure(
        &resource.resource_name,
        |overrides| {
            for config in &resource.configs {
                match &config.value {
                    Some(value) if config.config_operation == SET => {
                        overrides.insert(config.name.to_string(), value.to_string());
                    }
                    _ => {
                        overrides.remove(config.name.as_str());
                    }
                }
            }
        },
        dry,
    );
    changed.map_err(|e| (super::topics::code(&e), e.to_string()))
}

/// AlterConfigs, the older request: sets what it names and resets everything else to its default.
pub(crate) fn replace(node: &Node, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let dry = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let out = Replaced::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        if resource.resource_type != TOPIC {
            return out.with_error_code(ResponseError::InvalidRequest.code());
        }
        let given = resource
            .configs
            .into_iter()
            .filter_map(|c| Some((c.name.to_string(), c.value?.to_string())))
            .collect();
        let changed = node
            .topics
            .configure(&resource.resource_name, |all| *all = given, dry);
        match changed {
            Ok(()) => out.with_error_code(NONE),
            Err(error) => out
                .with_error_code(super::topics::code(&error))
                .with_error_message(Some(text(&error.to_string()))),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}
