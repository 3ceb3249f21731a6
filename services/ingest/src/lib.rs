//! S3 notifications in, image references out.
//!
//! Every record of a notification becomes one [`ImageRef`](sightline_contracts::ImageRef) in `images`, or a dead letter
//! of its own: a bad record never takes its neighbours with it. [`notification`] reads what publishers write,
//! [`admission`] decides what is let in.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admission;
pub mod notification;
mod settings;
mod stage;

pub use settings::Settings;
pub use stage::Ingest;

use sightline_contracts::Topic;
use sightline_stream::{Families, Spec, Status};
use sightline_telemetry::Telemetry;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const SPEC: Spec = Spec {
    service: "ingest",
    input: Topic::Ingest,
};

/// Runs the service until `shutdown` is cancelled and what is in flight is committed.
pub async fn run(
    settings: Settings,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let status = Status::new();
    let (alive, ready) = (status.clone(), status.clone());
    telemetry.health.live_while("ingest", move || alive.alive());
    telemetry
        .health
        .ready_while("ingest", move || ready.ready());
    let metrics = telemetry.declared(Families::register).stage(SPEC.service);
    let stage = Ingest::new(settings.admission, &mut telemetry.registry());
    sightline_stream::run(
        settings.kafka,
        settings.looping,
        SPEC,
        Arc::new(stage),
        metrics,
        status,
        shutdown,
    )
    .await?;
    Ok(())
}
