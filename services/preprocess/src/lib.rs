//! Image references in, tensors and thumbnails out.
//!
//! Every [`ImageRef`](sightline_contracts::ImageRef) of the topic `images` is fetched within a byte cap, decoded within
//! pixel limits and becomes a [`TensorMessage`](sightline_contracts::TensorMessage) in `tensors`, or a dead letter.
//! Fetches run on tokio and wait for room in a bound of bytes. Images are decoded by processes of their own, one for each
//! thread of a pool, which can reach nothing and whose memory and time are bounded: an image that kills its decoder is a
//! dead letter, and its neighbours go on.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod decoding;
mod manifest;
mod memory;
mod metrics;
mod pool;
mod recipe;
mod settings;
mod stage;

pub use decoding::decode_if_asked;
pub use manifest::Manifest;
pub use settings::{ImageSettings, Isolation, Settings, TensorType, ThumbnailFit};
pub use stage::Preprocess;

use anyhow::Context;
use sightline_contracts::Topic;
use sightline_storage::{self as storage, Metered, Store};
use sightline_stream::{Families, LoopSettings, Spec, Status};
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
    let memory = decode_memory(&images, &looping);
    let stage = Preprocess::new(Arc::new(store), &images, memory, &mut telemetry.registry())?;
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

/// What the settings say of the memory for decoding, or what the process's memory limit leaves.
fn decode_memory(images: &ImageSettings, looping: &LoopSettings) -> u64 {
    let bytes = images.decode_memory.unwrap_or_else(|| {
        let limit = sightline_telemetry::memory_limit().unwrap_or(u64::MAX);
        memory::for_decoding(images, looping, limit)
    });
    let (isolation, decoders) = (images.decode_isolation, images.threads());
    tracing::info!(?isolation, decoders, bytes, "memory for decoding");
    let largest = memory::largest(images);
    if bytes < largest {
        tracing::warn!(
            bytes,
            largest,
            "there is less memory for decoding than an image of --max-pixels may take, which is a dead letter then; \
             raise the memory limit or lower --max-pixels"
        );
    }
    bytes
}
