//! Logs, metrics, traces and health of a process.
//!
//! A process makes one [`Telemetry`] and passes a clone to each service that it runs. [`Server`] serves its health
//! checks
//! and its metrics over HTTP. [`Logs::start`] starts logging and, if a collector is configured, the export of spans.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "gpu")]
mod gpu;
mod health;
mod http;
mod logs;
pub mod probe;
mod process;
mod traces;

use clap::Args;
pub use health::Health;
pub use http::Server;
pub use logs::{LogFormat, Logs};
use parking_lot::{Mutex, MutexGuard};
pub use process::memory_limit;
use prometheus_client::registry::Registry;
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
};
pub use traces::{TraceSettings, Traces};

/// Settings of logs, metrics, health and traces.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs, health, metrics and traces")]
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
    /// Where spans are sent.
    #[command(flatten)]
    pub traces: TraceSettings,
}

/// The metrics and health checks of one process; clones share them.
#[derive(Clone)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
    declared: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>,
    /// The health checks; services add theirs.
    pub health: Health,
}

impl Default for Telemetry {
    /// With the metrics of the process itself registered, and no health checks.
    fn default() -> Self {
        let health = Health::default();
        let mut registry = Registry::default();
        process::register(&mut registry, health.clone());
        #[cfg(feature = "gpu")]
        gpu::register(&mut registry);
        Self {
            registry: Arc::new(Mutex::new(registry)),
            declared: Arc::default(),
            health,
        }
    }
}

impl Telemetry {
    /// The registry, to register metrics in. The guard must not be held across an await.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock()
    }

    /// A set of metrics that several services of a process share. The first call for the type `M` registers it with
    /// `declare`; later calls return clones.
    pub fn declared<M: Clone + Send + 'static>(
        &self,
        declare: impl FnOnce(&mut Registry) -> M,
    ) -> M {
        let mut declared = self.declared.lock();
        let known = declared.get(&TypeId::of::<M>());
        if let Some(metrics) = known.and_then(|any| any.downcast_ref::<M>()) {
            return metrics.clone();
        }
        let metrics = declare(&mut self.registry());
        declared.insert(TypeId::of::<M>(), Box::new(metrics.clone()));
        metrics
    }
}
