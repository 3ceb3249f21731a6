//! Image references in, tensors and thumbnails out.
//!
//! Every [`ImageRef`](sightline_contracts::ImageRef) of the topic `images` is fetched within a byte cap, decoded within
//! pixel limits and becomes a [`TensorMessage`](sightline_contracts::TensorMessage) in `tensors`, or a dead letter.
//! Fetches run on tokio and wait for room in a bound of bytes. Images are decoded by processes of their own, one for each
//! thread of a pool, which can reach nothing and whose memory and time are bounded: an image that kills its decoder is a
//! dead letter, and its neighbours go on.
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
/// Where no S3 client can be made, the manifest can't be read, or no decoder can be started; and those of [`run_stage`].
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
