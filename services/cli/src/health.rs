//! `sightline health` asks a running `sightline up` whether it is ready, for a container's health check.

use anyhow::anyhow;
use clap::Args;
use std::net::SocketAddr;

#[derive(Args)]
pub(crate) struct Health {
    /// Where /readyz is served
    #[arg(
        long,
        env = "SIGHTLINE_HTTP_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    http_listen: SocketAddr,
}

impl Health {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        sightline_telemetry::probe::ask(self.http_listen).map_err(|why| anyhow!("not ready: {why}"))
    }
}
