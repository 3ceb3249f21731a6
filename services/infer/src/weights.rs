//! Downloads a model from S3, because the crates manifest and model do not use S3.

use anyhow::Context as _;
use bytes::Bytes;
use sightline_manifest::{InBucket, Location, Source};
use sightline_storage::{Error, Objects, StorageSettings, Store};

/// The source of a model. A model in S3 is downloaded first.
///
/// # Errors
/// If no S3 client can be made, or a required object can't be read.
pub async fn source(model: &Location, storage: &StorageSettings) -> anyhow::Result<Source> {
    match model {
        Location::Here(source) => Ok(source.clone()),
        Location::S3(place) => {
            let store = Store::connect(storage).await?;
            download(&store, place)
                .await
                .with_context(|| format!("weights in {place} can't be downloaded"))
        }
    }
}

/// Downloads the weights, the manifest and, if there is one, the calibration.
///
/// # Errors
/// If the weights or the manifest can't be read.
pub async fn download(objects: &impl Objects, place: &InBucket) -> Result<Source, Error> {
    let get = async |key: String, limit| -> Result<Bytes, Error> {
        Ok(objects.get(&place.bucket, &key, None, limit).await?.bytes)
    };
    let manifest = match place.manifest() {
        Some(key) => Some(get(key, InBucket::MAX_MANIFEST).await?),
        None => None,
    };
    let weights = get(place.weights(), InBucket::MAX_WEIGHTS).await?;
    let calibration = match place.calibration() {
        Some(key) => optional(get(key, InBucket::MAX_MANIFEST).await)?,
        None => None,
    };
    Ok(Source::Bytes {
        name: place.to_string(),
        weights: Some(weights),
        manifest,
        calibration,
    })
}

/// `None` for a missing object. S3 answers "denied" for a missing object if the client may not list the bucket.
fn optional(got: Result<Bytes, Error>) -> Result<Option<Bytes>, Error> {
    match got {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. } | Error::Denied { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
