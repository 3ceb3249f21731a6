//! Tensors in, predictions out.
//!
//! Every tensor of the topic `tensors` becomes a [`PredictionMessage`](sightline_contracts::PredictionMessage) in
//! `predictions`, or a dead letter. The loop hands over many records at once; the model's engine computes them in
//! batches. The service joins its consumer group when the model is loaded and warm, not before.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod metrics;
mod settings;
mod stage;
pub mod weights;

pub use metrics::BatchMetrics;
pub use settings::{ModelSettings, Settings};
pub use stage::Infer;
pub use weights::Weights;

use anyhow::Context;
use sightline_contracts::Topic;
use sightline_model::Engine;
use sightline_storage::StorageSettings;
use sightline_stream::{Families, Spec, Status};
use sightline_telemetry::Telemetry;
use std::{
    num::NonZero,
    sync::{Arc, OnceLock, Weak},
};
use tokio_util::sync::CancellationToken;

const SPEC: Spec = Spec {
    service: "infer",
    input: Topic::Tensors,
};

/// Runs the service until `shutdown` is cancelled and what is in flight is committed.
pub async fn run(
    settings: Settings,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Settings {
        model,
        storage,
        kafka,
        looping,
        telemetry: _,
    } = settings;
    let status = Status::new();
    let engine = Watch::default();
    watch(&telemetry, &status, &engine);
    let metrics = telemetry.declared(Families::register).stage(SPEC.service);
    let batches = BatchMetrics::register(&mut telemetry.registry());
    let started = Box::pin(start(&model, &storage, batches.clone()));
    let Some(started) = shutdown.run_until_cancelled(started).await else {
        return Ok(());
    };
    let started = Arc::new(started?);
    // Set once: nothing else holds this cell.
    let _ = engine.set(Arc::downgrade(&started));
    let stage = Arc::new(Infer::new(started, batches));
    sightline_stream::run(kafka, looping, SPEC, stage, metrics, status, shutdown).await?;
    Ok(())
}

/// The engine as the health checks see it; empty until it is warm.
type Watch = Arc<OnceLock<Weak<Engine>>>;

fn watch(telemetry: &Telemetry, status: &Status, engine: &Watch) {
    let running = |engine: &Watch| {
        engine
            .get()
            .and_then(Weak::upgrade)
            .is_some_and(|engine| engine.alive())
    };
    let (alive, ready) = (status.clone(), status.clone());
    let (loaded, warm) = (Arc::clone(engine), Arc::clone(engine));
    telemetry.health.live_while("infer", move || alive.alive());
    telemetry.health.live_while("model thread", move || {
        loaded.get().is_none() || running(&loaded)
    });
    telemetry.health.ready_while("infer", move || ready.ready());
    telemetry
        .health
        .ready_while("model", move || running(&warm));
}

/// Fetches the weights, builds the model and warms it up.
async fn start(
    model: &ModelSettings,
    storage: &StorageSettings,
    batches: BatchMetrics,
) -> anyhow::Result<Engine> {
    let source = model.weights.source(storage).await?;
    let settings = model.clone();
    let load = move || {
        let model = sightline_model::load(&source, &settings.options()?)
            .with_context(|| format!("model {source} can't be loaded"))?;
        let (architecture, sha256) = (model.architecture(), model.weights_sha256());
        tracing::info!(name = model.manifest().name, %architecture, sha256, device = %settings.device, "model loaded");
        let top_k = settings.top_k.map_or(model.manifest().top_k, NonZero::get);
        let engine = Engine::start(model, settings.batches(top_k), move |batch| {
            batches.observe(batch)
        })?;
        tracing::info!("model warm");
        Ok(engine)
    };
    tokio::task::spawn_blocking(load)
        .await
        .context("loading the model ended in a panic")?
}
