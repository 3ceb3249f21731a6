//! The exactly-once consume-transform-produce loop, and clients for tools: [`Reader`], [`Publisher`], [`admin`].
//!
//! A service implements [`Stage`] and hands it to [`run`]. The loop does the rest: it joins the consumer group, bounds
//! what is in flight, commits outputs and offsets in one transaction, retries, writes dead letters, and recovers from
//! crashes, rebalances and fencing. `examples/stage.rs` is a complete stage on an embedded broker.
#![warn(missing_docs)]
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
