//! Weights from S3, which the model crate does not know.

use anyhow::Context;
use bytes::Bytes;
use sightline_model::Source;
use sightline_storage::{Error, Location, Objects, StorageSettings, Store};
use std::{fmt, str::FromStr};

/// No ResNet comes near it: the largest published one has 0.4 GB.
const MAX_WEIGHTS_BYTES: u64 = 2 << 30;
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Where the weights lie, as the settings say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// Read by the model crate itself.
    Own(Source),
    /// A prefix with `model.safetensors`, `manifest.json` and, for bytes, `int8.json`; or the key of a single `.safetensors` file.
    S3(Location),
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(source) => source.fmt(f),
            Self::S3(location) => location.fmt(f),
        }
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("s3://") {
            let location =
                Location::parse(text).ok_or_else(|| format!("{text:?} is not s3://bucket/prefix"));
            return location.map(Self::S3);
        }
        text.parse().map(Self::Own)
    }
}

impl Weights {
    /// The source to load; what lies in S3 is downloaded first.
    pub async fn source(&self, storage: &StorageSettings) -> anyhow::Result<Source> {
        match self {
            Self::Own(source) => Ok(source.clone()),
            Self::S3(location) => {
                let store = Store::connect(storage).await?;
                download(&store, location)
                    .await
                    .with_context(|| format!("weights in {location} can't be downloaded"))
            }
        }
    }

    /// Why this can't work, where that shows before anything is loaded.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Own(Source::Folder(path)) if !path.is_dir() => {
                Some(format!("{} is not a folder", path.display()))
            }
            Self::Own(Source::File(path)) if !path.is_file() => {
                Some(format!("{} is not a file", path.display()))
            }
            _ => None,
        }
    }
}

/// Reads weights, manifest and calibration; a file that names itself `.safetensors` comes without one.
pub async fn download(objects: &impl Objects, location: &Location) -> Result<Source, Error> {
    let Location { bucket, key } = location;
    let name = location.to_string();
    let get = async |key: &str, limit| -> Result<Bytes, Error> {
        Ok(objects.get(bucket, key, None, limit).await?.bytes)
    };
    if key.ends_with(".safetensors") {
        return Ok(Source::Bytes {
            name,
            weights: get(key, MAX_WEIGHTS_BYTES).await?,
            manifest: None,
            calibration: None,
        });
    }
    let folder = match key.trim_end_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let manifest = Some(get(&format!("{folder}manifest.json"), MAX_MANIFEST_BYTES).await?);
    let weights = get(&format!("{folder}model.safetensors"), MAX_WEIGHTS_BYTES).await?;
    let calibration = match get(&format!("{folder}int8.json"), MAX_MANIFEST_BYTES).await {
        Ok(json) => Some(json),
        // Denied is what S3 says of a missing object to those who may not list.
        Err(Error::NotFound { .. } | Error::Denied { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Source::Bytes {
        name,
        weights,
        manifest,
        calibration,
    })
}
