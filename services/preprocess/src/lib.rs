//! Image references in, tensors and thumbnails out.
//!
//! Every [`ImageRef`](sightline_contracts::ImageRef) of the topic `images` is fetched within a byte cap, decoded within
//! pixel limits and becomes a [`TensorMessage`](sightline_contracts::TensorMessage) in `tensors`, or a dead letter.
//! Fetches run on tokio and wait for room in a bound of bytes; pixels are worked on by a pool of named threads.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod manifest;
mod metrics;
mod pool;
mod settings;
mod stage;

pub use manifest::Manifest;
pub use settings::{ImageSettings, Settings, TensorType, ThumbnailFit};
pub use stage::Preprocess;

use anyhow::Context;
use sightline_contracts::Topic;
use sightline_storage::{self as storage, Metered, Store};
use sightline_stream::{Families, Spec, Status};
use sightline_telemetry::Telemetry;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const SPEC: Spec = Spec {
    service: "preprocess",
    input: Topic::Images,
};

/// Runs the service until `shutdown` is cancelled and what is in flight is committed.
pub async fn run(
    settings: Settings,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Settings {
        images,
        storage,
        kafka,
        looping,
        telemetry: _,
    } = settings;
    let store = Store::connect(&storage).await.context("can't set up S3")?;
    let status = Status::new();
    let (alive, ready) = (status.clone(), status.clone());
    telemetry
        .health
        .live_while("preprocess", move || alive.alive());
    telemetry
        .health
        .ready_while("preprocess", move || ready.ready());
    let metrics = telemetry.declared(Families::register).stage(SPEC.service);
    let store = Metered::new(store, telemetry.declared(storage::Metrics::register));
    let stage = Preprocess::new(Arc::new(store), &images, &mut telemetry.registry())?;
    sightline_stream::run(
        kafka,
        looping,
        SPEC,
        Arc::new(stage),
        metrics,
        status,
        shutdown,
    )
    .await?;
    Ok(())
}
