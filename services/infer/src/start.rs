//! Builds the stage from the settings, with a model that is warmed up.

use crate::{BatchMetrics, Infer, ModelSettings, weights};
use anyhow::Context as _;
use sightline_model::Engine;
use sightline_storage::StorageSettings;
use sightline_telemetry::{Health, Telemetry};
use std::{
    num::NonZero,
    sync::{Arc, OnceLock, Weak},
};

impl Infer {
    /// Fetches the weights, builds the model and warms it up. Meanwhile the process's health checks report that the model
    /// is not ready.
    ///
    /// # Errors
    /// If the model can't be found, loaded or warmed up.
    pub async fn start(
        model: &ModelSettings,
        storage: &StorageSettings,
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let watched = watch(&telemetry.health);
        let metrics = BatchMetrics::register(&mut telemetry.registry());
        let engine = Arc::new(engine(model, storage, metrics.clone()).await?);
        // Nothing else sets this cell, so it is empty.
        let _ = watched.set(Arc::downgrade(&engine));
        Ok(Self::new(engine, metrics))
    }
}

/// The engine, for the health checks; empty until the model is warmed up.
type Watched = Arc<OnceLock<Weak<Engine>>>;

fn watch(health: &Health) -> Watched {
    let watched = Watched::default();
    let (live, ready) = (Arc::clone(&watched), Arc::clone(&watched));
    health.live_unless("model thread", move || live.get().map_or(vec![], ended));
    health.ready_unless("model", move || {
        ready.get().map_or(vec!["loading or warming up"], ended)
    });
    watched
}

fn ended(engine: &Weak<Engine>) -> Vec<&'static str> {
    let runs = engine.upgrade().is_some_and(|engine| engine.alive());
    if runs {
        vec![]
    } else {
        vec!["its thread has ended"]
    }
}

async fn engine(
    model: &ModelSettings,
    storage: &StorageSettings,
    metrics: BatchMetrics,
) -> anyhow::Result<Engine> {
    let source = weights::source(&model.model, storage).await?;
    let settings = model.clone();
    let load = move || {
        let model = sightline_model::load(&source, &settings.options()?)
            .with_context(|| format!("model {source} can't be loaded"))?;
        let (architecture, sha256) = (model.architecture(), model.weights_sha256());
        tracing::info!(name = model.manifest().name, %architecture, sha256, device = %settings.device, "model loaded");
        let top_k = settings.top_k.map_or(model.manifest().top_k, NonZero::get);
        let engine = Engine::start(model, settings.batches(top_k), move |batch| {
            metrics.observe(batch)
        })?;
        tracing::info!("model warm");
        Ok(engine)
    };
    tokio::task::spawn_blocking(load)
        .await
        .context("loading the model ended in a panic")?
}
