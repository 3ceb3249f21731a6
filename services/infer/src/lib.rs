//! The service infer reads tensors and writes predictions.
//!
//! Every tensor of the topic `tensors` becomes a [`PredictionMessage`](sightline_contracts::PredictionMessage) in
//! `predictions`, or a dead letter. The loop passes many records to the stage at once, and the model's engine computes
//! them in batches. The service joins its consumer group after the model is loaded and warmed up.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod metrics;
mod settings;
mod stage;
mod start;
pub mod weights;

pub use metrics::BatchMetrics;
pub use settings::{ModelSettings, Settings};
pub use stage::Infer;

use sightline_contracts::Topic;
use sightline_service::{Context, run_stage};
use sightline_stream::Spec;

const SPEC: Spec = Spec {
    service: "infer",
    input: Topic::Tensors,
};

/// Runs the service until the shutdown, and until what is in flight is committed.
///
/// # Errors
/// If the model can't be found, loaded or warmed up, and those of [`run_stage`].
pub async fn run(settings: Settings, context: Context) -> anyhow::Result<()> {
    let stage = Infer::start(&settings.model, &settings.storage, &context.telemetry);
    run_stage(SPEC, settings.stream, stage, &context).await
}
