//! The whole pipeline in one process and one folder: a Kafka broker, an S3 store that notifies it, and the four services.

mod notifications;
mod services;

use anyhow::Context;
use notifications::Publish;
use sightline_broker::Broker;
use sightline_contracts::{Thumbnail, Topic};
use sightline_infer::ModelSettings;
use sightline_objectstore::ObjectStore;
use sightline_postprocess::Thumbnails;
use sightline_storage::{Credentials, Objects, StorageSettings, Store};
use sightline_stream::{
    KafkaSettings,
    admin::{TopicSpec, create_topics},
};
use sightline_telemetry::Telemetry;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The bucket whose images are classified.
pub const BUCKET: &str = "images";
const PARTITIONS: i32 = 3;

/// Where the pipeline listens and what it runs.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// The folder of all data, in `broker/` and `objects/`.
    pub data: PathBuf,
    /// Where the broker listens; port 0 takes a free one.
    pub kafka: SocketAddr,
    /// Where the S3 store listens; port 0 takes a free one.
    pub s3: SocketAddr,
    /// Host names that S3 requests may use, besides `localhost` and this machine's addresses.
    pub s3_hosts: Vec<String>,
    /// The keys of the S3 store.
    pub credentials: Credentials,
    /// Whether the S3 store syncs each object to disk before it answers.
    pub fsync: bool,
    /// The settings of infer.
    pub model: ModelSettings,
    /// The S3 server for a model that is stored in S3.
    pub model_storage: StorageSettings,
    /// The settings of thumbnails, for postprocess and ingest.
    pub thumbnails: Thumbnails,
    /// Further flags for all four services, as on their command lines.
    pub flags: Vec<String>,
}

/// The running pipeline.
pub struct Pipeline {
    /// Settings of a Kafka client.
    pub kafka: KafkaSettings,
    /// Settings of an S3 client.
    pub storage: StorageSettings,
    broker: Broker,
    objects: ObjectStore,
    services: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Pipeline {
    /// Starts the servers and the services. Returns before the services are ready; images that are put meanwhile wait.
    pub async fn start(config: PipelineConfig, telemetry: &Telemetry) -> anyhow::Result<Self> {
        let objects = objects_config(&config);
        objects.check()?;
        let broker = start_broker(&config)?;
        let kafka = KafkaSettings::at(broker.bootstrap());
        let topics: Vec<_> = Topic::ALL
            .iter()
            .map(|topic| TopicSpec::of(*topic, "", PARTITIONS, 1))
            .collect();
        create_topics(&kafka, &topics)
            .await
            .context("can't create the topics")?;
        let objects = start_objects(objects, &kafka).await?;
        let storage = StorageSettings {
            s3_endpoint: Some(format!("http://{}", objects.local_addr())),
            s3_region: Some("us-east-1".to_owned()),
            credentials: Some(config.credentials.clone()),
            ..StorageSettings::default()
        };
        let store = Store::connect(&storage).await?;
        store
            .create_bucket(BUCKET)
            .await
            .context("can't create the bucket")?;
        let stop = CancellationToken::new();
        let services = services::start(&config, &kafka, &storage, telemetry, &stop).await?;
        Ok(Self {
            kafka,
            storage,
            broker,
            objects,
            services,
            stop,
        })
    }

    /// Where the S3 store listens.
    pub fn s3_addr(&self) -> SocketAddr {
        self.objects.local_addr()
    }

    /// Waits until a service ends, which is always a failure.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.services.join_next().await {
            Some(Ok((name, Err(error)))) => error.context(format!("{name} failed")),
            Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} ended"),
            Some(Err(error)) => anyhow::Error::new(error).context("a service ended in a panic"),
            None => anyhow::anyhow!("all services have ended"),
        }
    }

    /// Stops the services, which finish what is in flight, then the S3 store and the broker.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let mut outcome = Ok(());
        while let Some(ended) = self.services.join_next().await {
            let (name, result) = ended.context("a service ended in a panic")?;
            outcome = outcome.and(result.with_context(|| format!("{name} failed")));
        }
        self.objects.shutdown().await;
        self.broker.shutdown().await;
        outcome
    }
}

fn start_broker(config: &PipelineConfig) -> anyhow::Result<Broker> {
    let broker = sightline_broker::Config {
        listen: config.kafka,
        ..sightline_broker::Config::new(config.data.join("broker"))
    };
    Broker::start(broker).with_context(|| format!("can't start the broker on {}", config.kafka))
}

fn objects_config(config: &PipelineConfig) -> sightline_objectstore::Config {
    let credentials = sightline_objectstore::Credentials {
        access_key: config.credentials.access_key.clone(),
        secret_key: config.credentials.secret_key.clone(),
    };
    let own_thumbnails = sightline_objectstore::Rule {
        prefix: config.thumbnails.thumbnail_prefix.clone(),
        suffix: Thumbnail::SUFFIX.to_owned(),
        ..Default::default()
    };
    sightline_objectstore::Config {
        listen: config.s3,
        hosts: config.s3_hosts.clone(),
        except: vec![own_thumbnails],
        fsync: config.fsync,
        ..sightline_objectstore::Config::new(config.data.join("objects"), credentials)
    }
}

async fn start_objects(
    config: sightline_objectstore::Config,
    kafka: &KafkaSettings,
) -> anyhow::Result<ObjectStore> {
    let listen = config.listen;
    let config = sightline_objectstore::Config {
        notifier: Some(Arc::new(Publish::connect(kafka).await?)),
        ..config
    };
    ObjectStore::start(config)
        .await
        .with_context(|| format!("can't start the S3 store on {listen}"))
}
