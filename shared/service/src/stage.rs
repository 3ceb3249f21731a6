//! A stage, from its start to its end.

use sightline_stream::{Config, Families, Spec, Stage, Status};
use sightline_telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

/// What a service is given by the program that runs it; clones share it.
#[derive(Clone)]
pub struct Context {
    /// Where it declares its metrics and health checks.
    pub telemetry: Telemetry,
    /// Cancelled when the service is to finish what is in flight and end.
    pub shutdown: CancellationToken,
}

/// Runs a stage until the shutdown and until what is in flight is committed. From the first moment the process's health
/// checks know the service by its name; it joins its consumer group when `stage` is complete, not before.
///
/// # Errors
/// Those of `stage` and of [`sightline_stream::run`].
pub async fn run_stage<S: Stage>(
    spec: Spec,
    config: Config,
    stage: impl Future<Output = anyhow::Result<S>>,
    context: &Context,
) -> anyhow::Result<()> {
    let Context {
        telemetry,
        shutdown,
    } = context;
    let status = Status::new();
    let (alive, ready) = (status.clone(), status.clone());
    let health = &telemetry.health;
    health.live_unless(spec.service, move || alive.hung_because());
    health.ready_unless(spec.service, move || ready.unready_because());
    let metrics = telemetry.declared(Families::register).stage(spec.service);
    // Boxed: what starts a stage, a model or an S3 client, is large, and gone before the stage runs.
    let Some(stage) = shutdown.run_until_cancelled(Box::pin(stage)).await else {
        return Ok(());
    };
    sightline_stream::run(stage?, spec, config, metrics, status, shutdown.clone()).await?;
    Ok(())
}
