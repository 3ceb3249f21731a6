//! `sightline up` runs the whole pipeline until it is stopped.

use crate::embedded::{BUCKET, Pipeline, PipelineConfig};
use anyhow::Context;
use clap::Args;
use sightline_infer::ModelSettings;
use sightline_objectstore::Credentials as StoreKeys;
use sightline_postprocess::Thumbnails;
use sightline_service::Signals;
use sightline_storage::{Credentials, StorageSettings};
use sightline_telemetry::{Server, Telemetry, TraceSettings};
use std::{fs, net::SocketAddr, path::PathBuf};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Args)]
pub(crate) struct Up {
    /// Folder of all data; created if it does not exist
    #[arg(
        long,
        env = "SIGHTLINE_DATA",
        value_name = "DIR",
        default_value = "sightline-data"
    )]
    data: PathBuf,
    /// Where the Kafka broker listens
    #[arg(
        long,
        env = "SIGHTLINE_BROKER_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    kafka_listen: SocketAddr,
    /// Where the S3 store listens
    #[arg(
        long,
        env = "SIGHTLINE_STORE_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9000"
    )]
    s3_listen: SocketAddr,
    /// Host name that clients may use for the S3 store, besides localhost and this machine's addresses; may be repeated,
    /// or contain several names separated by commas. Requests for other host names are refused, because a web page may
    /// have sent them
    #[arg(
        long,
        env = "SIGHTLINE_STORE_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    s3_host: Vec<String>,
    /// Where /livez, /readyz and /metrics are served
    #[arg(
        long,
        env = "SIGHTLINE_HTTP_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    http_listen: SocketAddr,
    /// Access key of the S3 store
    #[arg(
        long,
        env = "SIGHTLINE_STORE_ACCESS_KEY",
        value_name = "KEY",
        default_value = StoreKeys::DEFAULT
    )]
    access_key: String,
    /// Secret key of the S3 store; must be changed if other machines can reach the store
    #[arg(
        long,
        env = "SIGHTLINE_STORE_SECRET_KEY",
        value_name = "KEY",
        default_value = StoreKeys::DEFAULT,
        hide_env_values = true
    )]
    secret_key: String,
    #[command(flatten)]
    model: ModelSettings,
    #[command(flatten)]
    thumbnails: Thumbnails,
    #[command(flatten, next_help_heading = "S3, for a model that is stored there")]
    model_storage: StorageSettings,
    #[command(flatten, next_help_heading = "Traces")]
    traces: TraceSettings,
}

impl Up {
    /// The settings of traces, which must be known before the command runs.
    pub(crate) fn traces(&self) -> &TraceSettings {
        &self.traces
    }

    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen().context("can't listen for signals")?;
        fs::create_dir_all(&self.data)
            .with_context(|| format!("can't make {}", self.data.display()))?;
        let telemetry = Telemetry::default();
        let server = Server::bind(self.http_listen, telemetry.clone())
            .await
            .with_context(|| format!("can't listen on {} for HTTP", self.http_listen))?;
        let http = server.local_addr()?;
        let mut pipeline = Pipeline::start(self.config(), &telemetry).await?;
        self.greet(&pipeline, http);
        let probes = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(server.run(probes.clone()));
        let failure = tokio::select! {
            () = signals.token.cancelled() => None,
            failure = pipeline.failure() => Some(failure),
        };
        let stopped = pipeline.stop().await;
        probes.cancel();
        serving.join_all().await;
        failure.map_or(stopped, Err)
    }

    fn config(&self) -> PipelineConfig {
        PipelineConfig {
            data: self.data.clone(),
            kafka: self.kafka_listen,
            s3: self.s3_listen,
            s3_hosts: self.s3_host.clone(),
            credentials: Credentials {
                access_key: self.access_key.clone(),
                secret_key: self.secret_key.clone(),
            },
            fsync: true,
            model: self.model.clone(),
            model_storage: self.model_storage.clone(),
            thumbnails: self.thumbnails.clone(),
            flags: Vec::new(),
        }
    }

    fn greet(&self, pipeline: &Pipeline, http: SocketAddr) {
        let (kafka, s3) = (&pipeline.kafka.bootstrap, pipeline.s3_addr());
        let data = fs::canonicalize(&self.data).unwrap_or_else(|_| self.data.clone());
        eprintln!(
            "\
Kafka    {kafka}
S3       http://{s3}, bucket {BUCKET}
HTTP     http://{http}/readyz and /metrics
data     {}

Classify an image and watch the results:
  export AWS_ENDPOINT_URL=http://{s3} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=…
  aws s3 cp image.jpg s3://{BUCKET}/
  kcat -C -b {kafka} -t results
",
            data.display(),
            self.access_key,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: Up,
    }

    #[test]
    fn host_names_may_be_repeated_or_separated_by_commas() {
        let line = ["up", "--s3-host", "nas,nas.example", "--s3-host", "store"];
        let config = Line::try_parse_from(line).unwrap().up.config();
        assert_eq!(config.s3_hosts, ["nas", "nas.example", "store"]);
    }
}
