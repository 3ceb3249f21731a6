//! The exactly-once consume-transform-produce loop, and the other things one does with Kafka.
//!
//! A service implements [`Stage`] and hands it to [`run`]; everything else happens here: which partitions are ours,
//! what is in flight, when to commit, what to do about failures, crashes, rebalances and ghosts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
mod client;
mod clock;
mod driver;
mod error;
mod headers;
mod machine;
mod metrics;
mod publisher;
mod reader;
mod record;
mod settings;
mod status;
mod trace;

pub use clock::{Clock, Waiting};
pub use driver::{Config, Spec, run};
pub use error::{Error, with_causes};
pub use headers::Headers;
pub use humantime::parse_duration as duration;
pub use metrics::{Families, Metrics};
pub use publisher::{Message, Place, Publisher};
pub use reader::{Reader, Start};
pub use record::{Outcome, Output, Record, Rejection, Stage};
pub use secrecy::SecretString;
pub use settings::{KafkaSettings, LoopSettings, Property, SaslMechanism, SecurityProtocol};
pub use status::Status;
pub use tokio_util::sync::CancellationToken;
pub use trace::TraceContext;
