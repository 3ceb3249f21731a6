//! The service postprocess reads predictions, stores thumbnails and writes result events.
//!
//! It stores a thumbnail before it commits the result. An image's thumbnail always has the same key and the same bytes,
//! so storing it again after a crash changes nothing.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod settings;
mod stage;
mod thumbnails;

pub use settings::Settings;
pub use stage::Postprocess;
pub use thumbnails::Thumbnails;

use sightline_contracts::Topic;
use sightline_service::{Context, run_stage};
use sightline_stream::Spec;

const SPEC: Spec = Spec {
    service: "postprocess",
    input: Topic::Predictions,
};

/// Runs the service until the shutdown, and until what is in flight is committed.
///
/// # Errors
/// If no S3 client can be made, and those of [`run_stage`].
pub async fn run(settings: Settings, context: Context) -> anyhow::Result<()> {
    let stage = Postprocess::start(settings.storage, settings.thumbnails, &context.telemetry);
    run_stage(SPEC, settings.stream, stage, &context).await
}
