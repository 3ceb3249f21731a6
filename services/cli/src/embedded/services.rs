//! Runs the four services as their own binaries would.

use super::{BUCKET, PipelineConfig};
use anyhow::Context as _;
use clap::Parser;
use sightline_manifest::Location;
use sightline_service::Context;
use sightline_storage::StorageSettings;
use sightline_stream::KafkaSettings;
use sightline_telemetry::Telemetry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Services = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Starts the four services. Each task of the set is one service.
pub(crate) async fn start(
    config: &PipelineConfig,
    kafka: &KafkaSettings,
    storage: &StorageSettings,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<Services> {
    // The broker's data contains the instance names, which must not change with the host's name.
    let ours = ["--kafka-bootstrap", &kafka.bootstrap, "--instance", "0"].map(str::to_owned);
    let flags = [&ours[..], &config.flags[..]].concat();
    // preprocess and infer share one download.
    let source = sightline_infer::weights::source(&config.model.model, &config.model_storage);
    let model = Location::Here(source.await?);
    let mut ingest: sightline_ingest::Settings = settings("ingest", &flags)?;
    ingest.admission.buckets = vec![BUCKET.to_owned()];
    ingest
        .admission
        .thumbnail_prefix
        .clone_from(&config.thumbnails.thumbnail_prefix);
    let mut preprocess: sightline_preprocess::Settings = settings("preprocess", &flags)?;
    preprocess.storage = storage.clone();
    preprocess.images.model = model.clone();
    preprocess.images.manifest = None;
    let mut infer: sightline_infer::Settings = settings("infer", &flags)?;
    infer.model = config.model.clone();
    infer.model.model = model;
    infer.storage = config.model_storage.clone();
    let mut postprocess: sightline_postprocess::Settings = settings("postprocess", &flags)?;
    postprocess.storage = storage.clone();
    postprocess.thumbnails = config.thumbnails.clone();

    let mut services = Services::new();
    let context = || Context {
        telemetry: telemetry.clone(),
        shutdown: stop.clone(),
    };
    add(
        &mut services,
        "ingest",
        sightline_ingest::run(ingest, context()),
    );
    add(
        &mut services,
        "preprocess",
        sightline_preprocess::run(preprocess, context()),
    );
    add(
        &mut services,
        "infer",
        sightline_infer::run(infer, context()),
    );
    add(
        &mut services,
        "postprocess",
        sightline_postprocess::run(postprocess, context()),
    );
    Ok(services)
}

fn add(
    services: &mut Services,
    name: &'static str,
    service: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    services.spawn(async move { (name, Box::pin(service).await) });
}

/// Parses a service's settings from flags and environment.
fn settings<S: Parser>(name: &str, flags: &[String]) -> anyhow::Result<S> {
    let arguments = std::iter::once(name).chain(flags.iter().map(String::as_str));
    S::try_parse_from(arguments).with_context(|| format!("settings of {name}"))
}
