//! The service preprocess reads image references and writes tensors with thumbnails.
//!
//! It fetches the object of every [`ImageRef`](sightline_contracts::ImageRef) in the topic `images` within a byte limit
//! and decodes it within pixel limits. The result is a [`TensorMessage`](sightline_contracts::TensorMessage) in
//! `tensors`, or a dead letter.
//!
//! Fetches run on tokio; the bytes that they hold at once are bounded. Images are decoded in separate processes, one for
//! each thread of a pool. These processes have no access to files or the network, and their memory and time are bounded.
//! An image that kills its decoder becomes a dead letter, and the other images are not affected.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod decoding;
mod memory;
mod metrics;
mod model;
mod pool;
mod recipe;
mod settings;
mod stage;

pub use decoding::decode_if_asked;
pub use settings::{ImageSettings, Isolation, Settings, TensorType, ThumbnailFit};
pub use stage::Preprocess;

use sightline_contracts::Topic;
use sightline_service::{Context, run_stage};
use sightline_stream::Spec;

const SPEC: Spec = Spec {
    service: "preprocess",
    input: Topic::Images,
};

/// Runs the service until the shutdown, and until what is in flight is committed.
///
/// # Errors
/// If no S3 client can be made, the manifest can't be read, or no decoder can be started; and those of [`run_stage`].
pub async fn run(settings: Settings, context: Context) -> anyhow::Result<()> {
    let Settings {
        images,
        storage,
        stream,
        telemetry: _,
    } = settings;
    let memory = memory::decode_memory(&images, &stream.looping);
    let stage = Preprocess::start(&images, &storage, memory, &context.telemetry);
    run_stage(SPEC, stream, stage, &context).await
}
