//! Predictions in, thumbnails and result events out.
//!
//! The thumbnail is put before the result is committed, and the same image always puts the same bytes under the same
//! key, so that a repetition after a crash changes nothing.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod settings;
mod stage;
mod thumbnails;

pub use settings::Settings;
pub use stage::Postprocess;
pub use thumbnails::Thumbnails;

use anyhow::Context;
use sightline_contracts::Topic;
use sightline_storage::{self as storage, Metered, Store};
use sightline_stream::{Families, Spec, Status};
use sightline_telemetry::Telemetry;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const SPEC: Spec = Spec {
    service: "postprocess",
    input: Topic::Predictions,
};

/// Runs the service until `shutdown` is cancelled and what is in flight is committed.
pub async fn run(
    settings: Settings,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let store = Store::connect(&settings.storage)
        .await
        .context("can't set up S3")?;
    let status = Status::new();
    let (alive, ready) = (status.clone(), status.clone());
    telemetry
        .health
        .live_while("postprocess", move || alive.alive());
    telemetry
        .health
        .ready_while("postprocess", move || ready.ready());
    let metrics = telemetry.declared(Families::register).stage(SPEC.service);
    let store = Metered::new(store, telemetry.declared(storage::Metrics::register));
    let stage = Postprocess::new(
        Arc::new(store),
        settings.thumbnails,
        &mut telemetry.registry(),
    );
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
