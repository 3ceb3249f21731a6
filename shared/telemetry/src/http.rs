//! The HTTP server for `/livez`, `/readyz` and `/metrics`.

use crate::{Telemetry, health::Verdict};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::encoding::text::encode;
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server that listens but does not serve yet. Binding is a step of its own, so that a port in use is an error at
/// start,
/// and the port chosen for port 0 is known.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Listens on this address.
    ///
    /// # Errors
    /// The address can't be bound.
    pub async fn bind(listen: SocketAddr, telemetry: Telemetry) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(listen).await?,
            router: routes(telemetry),
        })
    }

    /// Serves further routes beside the probes.
    #[must_use]
    pub fn with(mut self, more: Router) -> Self {
        self.router = self.router.merge(more);
        self
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The operating system can't say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the token is cancelled, then finishes the requests in progress.
    pub async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }
}

fn routes(telemetry: Telemetry) -> Router {
    Router::new()
        .route(
            "/livez",
            get(|State(t): State<Telemetry>| async move { verdict(t.health.live()) }),
        )
        .route(
            "/readyz",
            get(|State(t): State<Telemetry>| async move { verdict(t.health.ready()) }),
        )
        .route("/metrics", get(metrics))
        .with_state(telemetry)
}

fn verdict(verdict: Verdict) -> Response {
    let status = if verdict.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(verdict)).into_response()
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &telemetry.registry()) {
        Ok(()) => (
            [(
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
