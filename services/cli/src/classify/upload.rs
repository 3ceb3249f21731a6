//! Uploads the images to the embedded S3 store.

use super::inputs::{Input, Origin};
use crate::embedded::BUCKET;
use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, stream};
use sightline_contracts::ImageRef;
use sightline_storage::{Objects, Store};
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinSet};

/// Concurrent uploads. Each holds one image in memory.
const CONCURRENCY: usize = 8;
/// The services' own default limit: they would reject a larger image anyway.
const MAX_BYTES: u64 = ImageRef::DEFAULT_MAX_BYTES;

/// The running uploads.
pub(crate) struct Uploads {
    failures: mpsc::Receiver<(String, String)>,
    task: JoinSet<()>,
}

impl Uploads {
    pub(crate) fn start(inputs: Vec<Input>, target: Store, source: Arc<Store>) -> Self {
        let (failed, failures) = mpsc::channel(CONCURRENCY);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let all = stream::iter(inputs).for_each_concurrent(CONCURRENCY, |input| {
                let (target, source, failed) = (&target, &source, &failed);
                async move {
                    if let Err(error) = put(&input, target, source).await {
                        // The receiver is dropped if the command is interrupted.
                        let _ = failed
                            .send((input.record_key(), format!("{error:#}")))
                            .await;
                    }
                }
            });
            all.await;
        });
        Self { failures, task }
    }

    /// The next image that could not be uploaded, as its record key and the error; `None` after all uploads have ended.
    pub(crate) async fn next_failure(&mut self) -> anyhow::Result<Option<(String, String)>> {
        if let Some(failure) = self.failures.recv().await {
            return Ok(Some(failure));
        }
        while let Some(ended) = self.task.join_next().await {
            ended.context("uploading ended in a panic")?;
        }
        Ok(None)
    }
}

async fn put(input: &Input, target: &Store, source: &Store) -> anyhow::Result<()> {
    let bytes = match &input.origin {
        Origin::File(path) => {
            let size = tokio::fs::metadata(path)
                .await
                .context("can't be read")?
                .len();
            anyhow::ensure!(
                size <= MAX_BYTES,
                "too-large: {size} bytes, more than {MAX_BYTES}"
            );
            Bytes::from(tokio::fs::read(path).await.context("can't be read")?)
        }
        Origin::Object(at) => {
            source
                .get(&at.bucket, &at.key, None, MAX_BYTES)
                .await?
                .bytes
        }
    };
    target
        .put(BUCKET, &input.key, bytes, "application/octet-stream")
        .await?;
    Ok(())
}
