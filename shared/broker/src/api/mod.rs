//! What the broker answers, one file for each family of requests.

pub mod commits;
pub mod configs;
pub mod fetch;
pub mod groups;
pub mod metadata;
pub mod offsets;
pub mod produce;
pub mod topics;
pub mod transactions;
pub mod versions;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use crate::group::Groups;
use crate::topics::Topics;
use crate::txn::Transactions;

/// The id of the only node.
pub const NODE: BrokerId = BrokerId(1);
/// The error code for "no error".
pub const NONE: i16 = 0;

/// Everything a request may need.
#[derive(Debug)]
pub struct Node {
    pub topics: Arc<Topics>,
    pub groups: Arc<Groups>,
    pub transactions: Transactions,
    pub cluster_id: String,
}

/// Who asks, and how.
#[derive(Debug, Clone)]
pub struct Context {
    pub version: i16,
    pub client_id: String,
    pub client_host: String,
    /// Where clients are told to find this node.
    pub advertised: (String, u16),
}

pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn owned(value: Option<&StrBytes>) -> Option<String> {
    value.map(|v| v.to_string())
}

/// Logs an I/O error where a request meets it; the client is told to try again.
fn storage(error: &std::io::Error) -> i16 {
    tracing::error!(%error, "storage failed");
    ResponseError::KafkaStorageError.code()
}
