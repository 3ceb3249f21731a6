//! Real servers on loopback as guards: a server runs as long as its value, and is stopped when that is dropped, also by
//! a panic. The programs are fetched once by package name, into a cache folder that all checkouts share. The command
//! `testbed` starts the same guards around a command: see `tests/testbed --help`.
//!
//! What a client needs to know to find a server is a list of environment variables ([`Variables`]).

mod cache;
mod kafka;
mod minio;
mod prometheus;
mod server;
mod services;
mod store;
mod versitygw;

pub use kafka::{Kafka, KafkaSettings};
pub use minio::Minio;
pub use prometheus::Prometheus;
pub use server::Server;
pub use services::{Binaries, SERVICES, Services};
pub use versitygw::Versitygw;

/// Names and values of environment variables.
pub type Variables = Vec<(&'static str, String)>;
