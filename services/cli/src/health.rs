//! `sightline health`: the health check of a container that runs `sightline up`.

use anyhow::anyhow;
use clap::Args;
use std::net::SocketAddr;

#[derive(Args)]
pub struct Health {
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
    pub fn run(self) -> anyhow::Result<()> {
        sightline_telemetry::probe::ask(self.http_listen).map_err(|why| anyhow!("not ready: {why}"))
    }
}
