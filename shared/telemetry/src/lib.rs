//! Settings, logs, metrics, health and shutdown: what a service has around its work.
//!
//! A service's `main.rs` is one call of [`service::main`], which reads the settings, starts the logs and the HTTP
//! endpoints and cancels one token on SIGTERM. The all-in-one binary makes one [`Telemetry`] and hands a clone to each
//! service it runs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod health;
mod http;
mod logs;
pub mod service;
pub mod settings;
pub mod shutdown;

pub use health::Health;
pub use http::Server;
pub use logs::{LogFormat, init as init_logs, init_at as init_logs_at};

use clap::Args;
use prometheus_client::registry::Registry;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What an operator sees of a process, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs, health and metrics")]
pub struct TelemetrySettings {
    /// How log lines look; auto is pretty on a terminal and JSON elsewhere.
    #[arg(long, env = "SIGHTLINE_LOG_FORMAT", value_enum, default_value = "auto")]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,sightline_stream=debug`.
    #[arg(long, env = "SIGHTLINE_LOG", default_value = "info")]
    pub log: String,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(
        long,
        env = "SIGHTLINE_HTTP_LISTEN",
        value_name = "HOST:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub http_listen: SocketAddr,
}

/// The metrics and health checks of one process; clones share them.
#[derive(Clone, Default)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
    /// Register what must hold for the process to be alive and ready.
    pub health: Health,
}

impl Telemetry {
    /// The registry, to declare metrics in. Not to be held across an await.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
