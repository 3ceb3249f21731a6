//! A single-node Kafka broker: embedded in the command line by default, and used by tests because it starts fast.
//!
//! It serves librdkafka and its wrappers, implements transactions and consumer groups by Kafka's rules, and stores
//! everything in append-only files under one folder. It is not for production; `README.md` lists what it lacks.
//!
//! ```
//! use sightline_broker::{Broker, Config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data = tempfile::tempdir()?;
//! let broker = Broker::start(Config::new(data.path()))?;
//! println!("bootstrap.servers={}", broker.bootstrap());
//! # Ok(())
//! # }
//! ```
//!
//! From the outside in: [`Broker`] owns the threads and the folder; `wire` reads requests and writes replies; `api` handles
//! requests; `topics`, `group` and `txn` hold state and write it to journals; `log` holds the records.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod api;
mod broker;
mod clock;
mod codec;
mod config;
mod error;
mod group;
pub mod hooks;
mod journal;
mod log;
mod reply;
mod settings;
mod topics;
mod txn;
mod waiters;
mod wire;

pub use broker::Broker;
pub use config::{Config, Fsync};
pub use error::Error;
pub use hooks::{ApiKey, Hooks};

/// Decodes one request as a connection does; `frame` lacks the four bytes of length. For fuzzing.
///
/// # Errors
/// If a connection would be closed for it.
#[doc(hidden)]
pub fn check_frame(frame: &[u8]) -> anyhow::Result<()> {
    wire::check::frame(bytes::Bytes::copy_from_slice(frame))
}
