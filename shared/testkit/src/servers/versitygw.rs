//! VersityGW, built once from the Go module proxy.

use super::{
    Server, Variables, cache,
    store::{BUCKET, KEYS, REGION, Store, TOPIC},
};
use crate::{Bootstrap, free_port, http_status};
use anyhow::Result;
use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

const PACKAGE: &str = "github.com/versity/versitygw/cmd/versitygw";
/// The version that docker-compose.yml has.
const VERSION: &str = "v1.8.0";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A gateway over a folder that is removed with it, on a file system with extended attributes. It has the bucket
/// `images`, whose events go to the Kafka topic `ingest`.
#[derive(Debug)]
pub struct Versitygw(Store);

impl Versitygw {
    /// Starts it; the topic must be there.
    ///
    /// # Errors
    /// VersityGW can't be built, doesn't start, or does not reach Kafka.
    pub fn start(kafka: &Bootstrap) -> Result<Self> {
        let begun = Instant::now();
        let program = Self::fetch()?;
        let data = tempfile::Builder::new()
            .prefix("sightline-versitygw.")
            .tempdir()?;
        let objects = data.path().join("objects");
        std::fs::create_dir(&objects)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let server = Server::start(
            "versitygw",
            Command::new(program)
                .args([
                    "--port", &address, "--region", REGION, "--health", "/health",
                ])
                .args(["--event-kafka-url", kafka.as_str()])
                .args(["--event-kafka-topic", TOPIC, "posix"])
                .arg(objects)
                .env("ROOT_ACCESS_KEY", KEYS)
                .env("ROOT_SECRET_KEY", KEYS),
            Some(&data.path().join("log")),
        )?;
        let mut store = Store::new(server, &address, data);
        store.server.await_ready(STARTS_WITHIN, || {
            http_status(&address, "/health").is_ok_and(|status| status == 200)
        })?;
        store.put(&format!("/{BUCKET}"), "")?;
        eprintln!(
            "versitygw: ready after {} s at {}",
            begun.elapsed().as_secs(),
            store.url
        );
        Ok(Self(store))
    }

    /// As any AWS client finds it: address, region and keys.
    pub fn variables(&self) -> Variables {
        self.0.variables()
    }

    /// Builds VersityGW where it is not there yet. Returns the program.
    ///
    /// # Errors
    /// There is no Go, or VersityGW doesn't build.
    pub fn fetch() -> Result<PathBuf> {
        let folder = cache::folder("versitygw")?.join(VERSION);
        cache::go_program(PACKAGE, VERSION, &folder, "two minutes on two cores")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_that_of_docker_compose() {
        let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker-compose.yml");
        let compose = std::fs::read_to_string(compose).unwrap();
        assert!(compose.contains(&format!("image: versity/versitygw:{}\n", super::VERSION)));
    }
}
