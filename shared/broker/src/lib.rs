//! A Kafka broker of one node, for one machine: the default of the command line, and the tests' fast one.
//!
//! It speaks the protocol to librdkafka and whatever builds on it, keeps transactions and consumer groups by Kafka's rules,
//! and stores everything in append-only files under one folder. It is not for production: see `README.md` for what it lacks.
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
//! From the outside in: [`Broker`] owns threads and folder; `wire` frames requests; `api` answers them; `topics`, `group`
//! and `txn` hold what is decided and note it in journals; `log` holds the records.
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
mod sync;
mod topics;
mod txn;
mod wire;

pub use broker::Broker;
pub use config::{Config, Fsync};
pub use error::Error;
pub use hooks::{ApiKey, Hooks};

/// Takes one request apart as a connection does, without its four bytes of length: for fuzzing.
///
/// # Errors
/// When a connection would be closed for it.
#[doc(hidden)]
pub fn check_frame(frame: &[u8]) -> anyhow::Result<()> {
    wire::check::frame(bytes::Bytes::copy_from_slice(frame))
}
