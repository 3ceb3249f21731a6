//! A member of a consumer group, and what it is told.

use bytes::Bytes;

/// Names one request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// A protocol (assignor) with the member's metadata for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: String,
    pub metadata: Bytes,
}

/// What a client asks when it joins.
#[derive(Debug, Clone)]
pub struct Join {
    /// Empty for a new member.
    pub member_id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i64,
    pub rebalance_timeout_ms: i64,
    pub protocol_type: String,
    pub protocols: Vec<Protocol>,
    /// Whether a new member is told its id first and must come again with it (JoinGroup 4 and later).
    pub needs_known_id: bool,
    /// Whether the client understands being told to skip the assignment (JoinGroup 9 and later).
    pub may_skip_assignment: bool,
}

/// What a client asks when it wants its assignment, or brings everyone's.
#[derive(Debug, Clone, Default)]
pub struct Sync {
    pub member_id: String,
    pub instance: Option<String>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub member_id: String,
    /// For the leader: everyone, with their metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
    pub skip_assignment: bool,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

/// Why a group refuses a request; each is the Kafka error of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
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

/// An answer to a request that waited, perhaps for no time at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The error carries the member id that a refused client is told.
    Join(Ticket, Result<Joined, (Refused, String)>),
    Sync(Ticket, Result<Synced, Refused>),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Member {
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i64,
    pub rebalance_timeout_ms: i64,
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    pub awaiting_join: Option<Ticket>,
    pub awaiting_sync: Option<Ticket>,
    /// When the member is taken for dead unless it is heard of.
    pub expires_ms: i64,
    /// Has not been through a rebalance yet: may expire while it waits to join.
    pub is_new: bool,
    /// Has yet to ask for its assignment in this generation.
    pub owes_sync: bool,
}

impl Member {
    pub fn new(join: &Join) -> Self {
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

    /// Whether the member counts as alive whatever its heartbeat: it waits for an answer of ours.
    pub fn is_waiting(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    pub fn touch(&mut self, now: i64) {
        self.expires_ms = now.saturating_add(self.session_timeout_ms);
    }

    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|p| p.name == protocol)
            .map_or_else(Bytes::new, |p| p.metadata.clone())
    }
}
