//! MinIO, built once from the Go module proxy.

use super::{
    Server, Variables, cache,
    store::{BUCKET, KEYS, Store, TOPIC},
};
use crate::{Bootstrap, free_port, http_status};
use anyhow::Result;
use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

const PACKAGE: &str = "github.com/minio/minio";
const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const NOTIFICATION: &str = "<NotificationConfiguration><QueueConfiguration><Id>sightline</Id>\
    <Queue>arn:minio:sqs::SIGHTLINE:kafka</Queue><Event>s3:ObjectCreated:*</Event>\
    </QueueConfiguration></NotificationConfiguration>";

/// A server over a folder that is removed with it. It has the bucket `images`, whose events go to the Kafka topic
/// `ingest`.
#[derive(Debug)]
pub struct Minio(Store);

impl Minio {
    /// Starts it; the topic must be there.
    ///
    /// # Errors
    /// MinIO can't be built or doesn't start, or does not reach Kafka.
    pub fn start(kafka: &Bootstrap) -> Result<Self> {
        let begun = Instant::now();
        let program = Self::fetch()?;
        let data = tempfile::Builder::new()
            .prefix("sightline-minio.")
            .tempdir()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let server = Server::start(
            "minio",
            Command::new(program)
                .args(["server", "--quiet", "--address", &address])
                .arg(data.path().join("objects"))
                .env("MINIO_ROOT_USER", KEYS)
                .env("MINIO_ROOT_PASSWORD", KEYS)
                .env("MINIO_BROWSER", "off")
                .env("MINIO_UPDATE", "off")
                .env("MINIO_NOTIFY_KAFKA_ENABLE_SIGHTLINE", "on")
                .env("MINIO_NOTIFY_KAFKA_BROKERS_SIGHTLINE", kafka.as_str())
                .env("MINIO_NOTIFY_KAFKA_TOPIC_SIGHTLINE", TOPIC),
            Some(&data.path().join("log")),
        )?;
        let mut store = Store::new(server, &address, data);
        store.server.await_ready(STARTS_WITHIN, || {
            http_status(&address, "/minio/health/live").is_ok_and(|status| status == 200)
        })?;
        store.put(&format!("/{BUCKET}"), "")?;
        store.put(&format!("/{BUCKET}?notification="), NOTIFICATION)?;
        eprintln!(
            "minio: ready after {} s at {}",
            begun.elapsed().as_secs(),
            store.url
        );
        Ok(Self(store))
    }

    /// As any AWS client finds it: address, region and keys.
    pub fn variables(&self) -> Variables {
        self.0.variables()
    }

    /// Builds MinIO where it is not there yet. Returns the program.
    ///
    /// # Errors
    /// There is no Go, or MinIO doesn't build.
    pub fn fetch() -> Result<PathBuf> {
        let folder = cache::folder("minio")?.join(VERSION);
        cache::go_program(PACKAGE, VERSION, &folder, "four minutes on two cores")
    }
}
