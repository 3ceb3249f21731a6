//! Real parts for the tests: clients for Kafka, raw requests where a client would hide the answer, child processes that
//! end with the test, and hostile images ([`hostile`]). With the feature `servers` also Kafka, S3 servers, Prometheus
//! and the four services. Used by tests only.
//!
//! Nothing here sleeps for a fixed time: every wait has a condition and a deadline.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "kafka")]
pub mod batch;
mod bootstrap;
#[cfg(feature = "kafka")]
mod clients;
pub mod hostile;
#[cfg(target_os = "linux")]
mod memory;
mod net;
mod process;
#[cfg(feature = "servers")]
pub mod servers;
mod unique;
mod wait;
#[cfg(feature = "kafka")]
pub mod wire;

pub use bootstrap::Bootstrap;
#[cfg(feature = "kafka")]
pub use clients::{Admin, consumer, producer};
#[cfg(target_os = "linux")]
pub use memory::{children, peak_memory};
pub use net::{await_port, free_port, http_get, http_status};
pub use process::Process;
pub use unique::unique;
pub use wait::{eventually, eventually_within};
