//! What MinIO and VersityGW have in common: an S3 server with the bucket `images`, whose events go to the Kafka topic
//! `ingest`.

use super::{Server, Variables};
use anyhow::{Context as _, Result, ensure};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Both the access key and the secret key.
pub(crate) const KEYS: &str = "sightline-test";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const BUCKET: &str = "images";
pub(crate) const TOPIC: &str = "ingest";

/// A server, its address and its folder, which is removed after it has stopped.
#[derive(Debug)]
pub(crate) struct Store {
    pub server: Server,
    pub url: String,
    _data: TempDir,
}

impl Store {
    pub fn new(server: Server, address: &str, data: TempDir) -> Self {
        Self {
            server,
            url: format!("http://{address}"),
            _data: data,
        }
    }

    /// The variables by which any AWS client finds it.
    pub fn variables(&self) -> Variables {
        vec![
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_REGION", REGION.into()),
            ("AWS_ACCESS_KEY_ID", KEYS.into()),
            ("AWS_SECRET_ACCESS_KEY", KEYS.into()),
        ]
    }

    /// A signed PUT to a path and query. curl tries again while a server that answers already says 503.
    pub fn put(&self, path: &str, body: &str) -> Result<()> {
        let sent = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body"])
            .args(["--retry", "20", "--retry-delay", "1"])
            .args(["--aws-sigv4", &format!("aws:amz:{REGION}:s3")])
            .args(["--user", &format!("{KEYS}:{KEYS}")])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(["--request", "PUT", "--data-binary", body])
            .arg(format!("{}{path}", self.url))
            .stdin(Stdio::null())
            .output()
            .context("can't start curl")?;
        ensure!(
            sent.status.success(),
            "PUT {path}: {}{}",
            String::from_utf8_lossy(&sent.stderr),
            String::from_utf8_lossy(&sent.stdout)
        );
        Ok(())
    }
}
