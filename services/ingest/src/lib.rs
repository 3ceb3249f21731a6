//! The service ingest reads S3 notifications and writes image references.
//!
//! Every record of a notification becomes one [`ImageRef`](sightline_contracts::ImageRef) in the topic `images`, or a
//! dead letter of its own: a bad record does not affect the notification's other records. [`notification`] parses what
//! publishers write, [`admission`] decides which objects are classified.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admission;
pub mod notification;
mod settings;
mod stage;

pub use settings::Settings;
pub use stage::Ingest;

use sightline_contracts::Topic;
use sightline_service::{Context, run_stage};
use sightline_stream::Spec;
use std::future::ready;

const SPEC: Spec = Spec {
    service: "ingest",
    input: Topic::Ingest,
};

/// Runs the service until the shutdown, and until what is in flight is committed.
///
/// # Errors
/// Those of [`run_stage`].
pub async fn run(settings: Settings, context: Context) -> anyhow::Result<()> {
    let stage = Ingest::new(settings.admission, &mut context.telemetry.registry());
    run_stage(SPEC, settings.stream, ready(Ok(stage)), &context).await
}
