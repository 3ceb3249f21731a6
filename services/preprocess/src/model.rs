//! Reads the manifest of the model that the tensors are for.

use anyhow::{Context as _, ensure};
use sightline_manifest::{InBucket, Location, Preprocessing, Source};
use sightline_storage::Objects;

/// How the model's input must be preprocessed. Only the manifest is read, not the weights.
///
/// # Errors
/// If the manifest cannot be read or its preprocessing cannot work.
pub(crate) async fn preprocessing(
    model: &Location,
    store: &impl Objects,
) -> anyhow::Result<Preprocessing> {
    let source = match model {
        Location::Here(source) => source.clone(),
        Location::S3(place) => download(place, store).await?,
    };
    let read = move || source.manifest();
    let manifest = tokio::task::spawn_blocking(read).await?;
    let preprocessing = manifest
        .with_context(|| format!("can't read the manifest of {model}"))?
        .preprocessing;
    let problems = preprocessing.problems();
    ensure!(
        problems.is_empty(),
        "the preprocessing of {model} can't work: {}",
        problems.join("; ")
    );
    Ok(preprocessing)
}

async fn download(place: &InBucket, store: &impl Objects) -> anyhow::Result<Source> {
    let manifest = match place.manifest() {
        None => None,
        Some(key) => {
            let got = store.get(&place.bucket, &key, None, InBucket::MAX_MANIFEST);
            let got = got.await;
            Some(got.context("can't download the model's manifest")?.bytes)
        }
    };
    Ok(Source::Bytes {
        name: place.to_string(),
        weights: None,
        manifest,
        calibration: None,
    })
}
