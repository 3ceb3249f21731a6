//! `sightline classify` runs the whole pipeline once for the given images.
//!
//! It puts the images into the embedded S3 store, as any client would, and reads the topics `results` and
//! `dead-letters`.

mod inputs;
mod report;
mod upload;

use crate::{
    answers::{Answer, Answers},
    embedded::{Pipeline, PipelineConfig},
};
use anyhow::{Context, bail};
use clap::Args;
use inputs::Input;
use report::Report;
use sightline_infer::ModelSettings;
use sightline_postprocess::Thumbnails;
use sightline_service::Signals;
use sightline_storage::{Credentials, StorageSettings, Store};
use sightline_stream::Start;
use sightline_telemetry::Telemetry;
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
};
use upload::Uploads;

#[derive(Args)]
pub(crate) struct Classify {
    /// Files, folders with all files below them, and s3://bucket/prefix
    #[arg(required = true, value_name = "FILE|FOLDER|S3-URL")]
    images: Vec<String>,
    /// Print the messages of the topic `results`, one a line, instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelSettings,
    #[command(
        flatten,
        next_help_heading = "S3, for images and models that are stored there"
    )]
    storage: StorageSettings,
}

impl Classify {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let signals = Signals::listen().context("can't listen for signals")?;
        let source = Arc::new(Store::connect(&self.storage).await?);
        let inputs = inputs::collect(&self.images, source.as_ref()).await?;
        if inputs.is_empty() {
            bail!("no files in {}", self.images.join(", "));
        }
        let mut report = Report::new(inputs.len(), self.json);
        let data = tempfile::tempdir().context("can't make a temporary folder")?;
        let mut pipeline = Pipeline::start(self.config(&data), &Telemetry::default()).await?;
        let ends = Ends {
            kafka: pipeline.kafka.clone(),
            storage: pipeline.storage.clone(),
        };
        let classified = tokio::select! {
            classified = classify(inputs, &ends, source, &mut report) => classified,
            failure = pipeline.failure() => Err(failure),
            () = signals.token.cancelled() => bail!("interrupted"),
        };
        report.finish();
        let failed = classified.map(|()| report.failed());
        pipeline.stop().await?;
        Ok(if failed? == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn config(&self, data: &tempfile::TempDir) -> PipelineConfig {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        PipelineConfig {
            data: data.path().to_owned(),
            kafka: any_port,
            s3: any_port,
            s3_hosts: Vec::new(),
            credentials: Credentials {
                access_key: "classify".to_owned(),
                secret_key: "classify".to_owned(),
            },
            // The folder is temporary.
            fsync: false,
            model: self.model.clone(),
            model_storage: self.storage.clone(),
            thumbnails: Thumbnails::default(),
            // The user wants an answer for every file, so many bad files must not pause the pipeline.
            flags: vec!["--breaker-min-records".to_owned(), u32::MAX.to_string()],
        }
    }
}

/// The addresses of the embedded servers.
struct Ends {
    kafka: sightline_stream::KafkaSettings,
    storage: StorageSettings,
}

/// Uploads every image and waits until each has an answer.
async fn classify(
    inputs: Vec<Input>,
    ends: &Ends,
    source: Arc<Store>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut answers = Answers::read(&ends.kafka, "", &Start::Beginning)?;
    let mut waiting: HashMap<String, String> = inputs
        .iter()
        .map(|input| (input.record_key(), input.name.clone()))
        .collect();
    let mut uploads = Uploads::start(inputs, Store::connect(&ends.storage).await?, source);
    let mut uploading = true;
    while !waiting.is_empty() {
        let (key, answer) = tokio::select! {
            answer = answers.next() => answer?,
            failed = uploads.next_failure(), if uploading => match failed? {
                Some((key, error)) => (key, Answer::Failed(error)),
                None => {
                    uploading = false;
                    continue;
                }
            },
        };
        if let Some(name) = waiting.remove(&key) {
            report.add(name, answer)?;
        }
    }
    Ok(())
}
