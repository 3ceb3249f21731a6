//! A member of a consumer group, and its requests and replies.

use bytes::Bytes;

/// The number of a request that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(pub u64);

/// A protocol (assignor) with the member's metadata for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub name: String,
    pub metadata: Bytes,
}

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty for a new member.
    pub member_id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i64,
    pub rebalance_timeout_ms: i64,
    pub protocol_type: String,
    pub protocols: Vec<Protocol>,
    /// Whether a new member first gets its id and must join again with it (JoinGroup 4 and later).
    pub needs_known_id: bool,
    /// Whether the client supports `skip_assignment` (JoinGroup 9 and later).
    pub may_skip_assignment: bool,
}

/// A SyncGroup request: asks for the member's assignment; the leader's has everyone's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sync {
    pub member_id: String,
    pub instance: Option<String>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Joined {
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub member_id: String,
    /// For the leader: all members, with their metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
    pub skip_assignment: bool,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Synced {
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

/// Why a group refuses a request; each is the Kafka error of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    UnknownMemberId,
    FencedInstanceId,
    IllegalGeneration,
    RebalanceInProgress,
    InconsistentGroupProtocol,
    MemberIdRequired,
    InvalidSessionTimeout,
    InvalidGroupId,
    NonEmptyGroup,
    GroupIdNotFound,
}

/// The reply to a waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The error has the member id for the reply.
    Join(Ticket, Result<Joined, (Refused, String)>),
    Sync(Ticket, Result<Synced, Refused>),
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i64,
    pub rebalance_timeout_ms: i64,
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    pub awaiting_join: Option<Ticket>,
    pub awaiting_sync: Option<Ticket>,
    /// When the session expires, unless a request extends it.
    pub expires_ms: i64,
    /// Has not taken part in a rebalance yet, so it may expire while it waits to join.
    pub is_new: bool,
    /// Has not asked for its assignment in this generation yet.
    pub owes_sync: bool,
}

impl Member {
    pub(crate) fn new(join: &Join) -> Self {
        Self {
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            expires_ms: i64::MAX,
            is_new: true,
            owes_sync: false,
        }
    }

    /// Whether the member waits for a reply, and so is alive without heartbeats.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    pub(crate) fn touch(&mut self, now: i64) {
        self.expires_ms = now.saturating_add(self.session_timeout_ms);
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|p| p.name == protocol)
            .map_or_else(Bytes::new, |p| p.metadata.clone())
    }
}
