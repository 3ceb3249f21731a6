//! A model from S3, which the crates that read models do not know.

use anyhow::Context as _;
use bytes::Bytes;
use sightline_manifest::{InBucket, Location, Source};
use sightline_storage::{Error, Objects, StorageSettings, Store};

/// The source to load; what is in S3 is downloaded first.
///
/// # Errors
/// Where no S3 client can be made, or an object that must be there can't be had.
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

/// Reads weights, manifest and calibration.
///
/// # Errors
/// Where one that must be there can't be had.
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
        Some(key) => if_there(get(key, InBucket::MAX_MANIFEST).await)?,
        None => None,
    };
    Ok(Source::Bytes {
        name: place.to_string(),
        weights: Some(weights),
        manifest,
        calibration,
    })
}

/// Denied is what S3 says of a missing object to those who may not list.
fn if_there(got: Result<Bytes, Error>) -> Result<Option<Bytes>, Error> {
    match got {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. } | Error::Denied { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
