//! Requests about membership in consumer groups, and about groups.

use super::{Context, NONE, Node, owned, storage, text};
use crate::group::{
    Error,
    machine::Group,
    member::{Join, Protocol, Refused, Sync},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
        GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
        SyncGroupRequest, SyncGroupResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        join_group_response::JoinGroupResponseMember,
        leave_group_response::MemberResponse,
        list_groups_response::ListedGroup,
    },
    protocol::StrBytes,
};

/// Kafka's bounds for a session timeout.
const SESSION_TIMEOUT_MS: std::ops::RangeInclusive<i32> = 1..=1_800_000;

pub(crate) fn code(refused: Refused) -> i16 {
    match refused {
        Refused::UnknownMemberId => ResponseError::UnknownMemberId,
        Refused::FencedInstanceId => ResponseError::FencedInstanceId,
        Refused::IllegalGeneration => ResponseError::IllegalGeneration,
        Refused::RebalanceInProgress => ResponseError::RebalanceInProgress,
        Refused::InconsistentGroupProtocol => ResponseError::InconsistentGroupProtocol,
        Refused::MemberIdRequired => ResponseError::MemberIdRequired,
        Refused::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
        Refused::InvalidGroupId => ResponseError::InvalidGroupId,
        Refused::NonEmptyGroup => ResponseError::NonEmptyGroup,
        Refused::GroupIdNotFound => ResponseError::GroupIdNotFound,
    }
    .code()
}

pub(crate) fn error_code(error: &Error) -> i16 {
    match error {
        Error::Refused(refused) => code(*refused),
        Error::Storage(error) => storage(error),
    }
}

pub(crate) async fn join(
    node: &Node,
    context: &Context,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let refused = |refused, id: String| {
        // Before version 7 a null protocol name doesn't exist.
        let name = if context.version >= 7 {
            None
        } else {
            Some(StrBytes::new())
        };
        JoinGroupResponse::default()
            .with_error_code(code(refused))
            .with_generation_id(-1)
            .with_protocol_name(name)
            .with_member_id(text(&id))
    };
    if request.group_id.is_empty() {
        return refused(Refused::InvalidGroupId, String::new());
    }
    if !SESSION_TIMEOUT_MS.contains(&request.session_timeout_ms) {
        return refused(Refused::InvalidSessionTimeout, String::new());
    }
    let rebalance = if context.version == 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let protocols = request.protocols.into_iter().map(|p| Protocol {
        name: p.name.to_string(),
        metadata: p.metadata,
    });
    let join = Join {
        member_id: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        client_id: context.client_id.clone(),
        client_host: context.client_host.clone(),
        session_timeout_ms: i64::from(request.session_timeout_ms),
        rebalance_timeout_ms: i64::from(rebalance.max(0)),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        needs_known_id: context.version >= 4,
        may_skip_assignment: context.version >= 9,
    };
    match node.groups.join(&request.group_id, join).await {
        Ok(joined) => {
            let members = joined.members.into_iter().map(|(id, instance, metadata)| {
                JoinGroupResponseMember::default()
                    .with_member_id(text(&id))
                    .with_group_instance_id(
                        instance.map(|i| text(&i)).filter(|_| context.version >= 5),
                    )
                    .with_metadata(metadata)
            });
            JoinGroupResponse::default()
                .with_error_code(NONE)
                .with_generation_id(joined.generation)
                .with_protocol_type(joined.protocol_type.map(|p| text(&p)))
                .with_protocol_name(Some(text(&joined.protocol.unwrap_or_default())))
                .with_leader(text(&joined.leader))
                .with_member_id(text(&joined.member_id))
                .with_members(members.collect())
                .with_skip_assignment(joined.skip_assignment)
        }
        Err((why, id)) => refused(why, id),
    }
}

pub(crate) async fn sync(node: &Node, request: SyncGroupRequest) -> SyncGroupResponse {
    let assignments = request
        .assignments
        .into_iter()
        .map(|a| (a.member_id.to_string(), a.assignment));
    let sync = Sync {
        member_id: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: owned(request.protocol_type.as_ref()),
        protocol: owned(request.protocol_name.as_ref()),
        assignments: assignments.collect(),
    };
    match node.groups.sync(&request.group_id, sync).await {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(synced.protocol_type.map(|p| text(&p)))
            .with_protocol_name(synced.protocol.map(|p| text(&p)))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error_code(&error)),
    }
}

pub(crate) fn heartbeat(node: &Node, request: &HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let beat = node.groups.heartbeat(
        &request.group_id,
        &request.member_id,
        instance,
        request.generation_id,
    );
    HeartbeatResponse::default().with_error_code(beat.err().map_or(NONE, code))
}

pub(crate) fn leave(node: &Node, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    if version < 3 {
        let left = node
            .groups
            .leave(&request.group_id, &request.member_id, None);
        return LeaveGroupResponse::default().with_error_code(left.err().map_or(NONE, code));
    }
    let members = request.members.into_iter().map(|member| {
        let left = node.groups.leave(
            &request.group_id,
            &member.member_id,
            member.group_instance_id.as_deref(),
        );
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(left.err().map_or(NONE, code))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub(crate) fn describe(
    node: &Node,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = node.groups.groups(|groups| {
        let describe = |id: GroupId| match groups.get(id.as_str()) {
            Some(group) => described(id, group, version),
            None => DescribedGroup::default()
                .with_group_id(id)
                .with_group_state(text("Dead")),
        };
        request.groups.into_iter().map(describe).collect()
    });
    DescribeGroupsResponse::default().with_groups(groups)
}

fn described(id: GroupId, group: &Group, version: i16) -> DescribedGroup {
    let protocol = group.protocol.clone().unwrap_or_default();
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(
                member
                    .instance
                    .as_deref()
                    .map(text)
                    .filter(|_| version >= 4),
            )
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata(&protocol))
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(text(&protocol))
        .with_members(members.collect())
}

pub(crate) fn list(node: &Node, request: &ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value))
    };
    let groups = node.groups.groups(|groups| {
        let fits = |group: &Group| {
            wanted(&request.states_filter, group.state.name())
                && wanted(&request.types_filter, "classic")
        };
        let listed = groups
            .iter()
            .filter(|(_, group)| fits(group))
            .map(|(id, group)| {
                ListedGroup::default()
                    .with_group_id(GroupId(text(id)))
                    .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
                    .with_group_state(text(group.state.name()))
                    .with_group_type(text("classic"))
            });
        listed.collect()
    });
    ListGroupsResponse::default().with_groups(groups)
}

pub(crate) fn delete(node: &Node, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = node.groups.delete(&id);
        DeletableGroupResult::default()
            .with_group_id(id)
            .with_error_code(deleted.err().map_or(NONE, |e| error_code(&e)))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
