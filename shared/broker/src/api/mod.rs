//! The request handlers, one file for each family of requests.

pub(crate) mod commits;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod groups;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod versions;

use crate::{group::Groups, topics::Topics, txn::Transactions};
use kafka_protocol::{ResponseError, messages::BrokerId, protocol::StrBytes};
use std::sync::Arc;

/// The id of the only node.
pub(crate) const NODE: BrokerId = BrokerId(1);
/// The error code for "no error".
pub(crate) const NONE: i16 = 0;

/// The state that handlers use.
#[derive(Debug)]
pub(crate) struct Node {
    pub topics: Arc<Topics>,
    pub groups: Arc<Groups>,
    pub transactions: Transactions,
    pub cluster_id: String,
}

/// The client and version of a request.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub version: i16,
    pub client_id: String,
    pub client_host: String,
    /// The address of this node in replies.
    pub advertised: (String, u16),
}

pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn owned(value: Option<&StrBytes>) -> Option<String> {
    value.map(|v| v.to_string())
}

/// Logs an I/O error of a request; the client gets a retriable error.
fn storage(error: &std::io::Error) -> i16 {
    tracing::error!(%error, "storage failed");
    ResponseError::KafkaStorageError.code()
}
