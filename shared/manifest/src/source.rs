//! Where a model comes from.

use crate::{Error, Hub, Manifest, timm::TimmConfig};
use bytes::Bytes;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A place with weights and, if it has one, the manifest that belongs to them.
///
/// As text: `bundled`, a path, or `hf:owner/name[@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The road-scene model inside this binary.
    Bundled,
    /// A folder with `model.safetensors` and `manifest.json`, or timm's `config.json` instead.
    Folder(PathBuf),
    /// A safetensors file with torchvision's or timm's names; ImageNet's preprocessing is assumed.
    File(PathBuf),
    /// A `manifest.json` without weights, which is enough to preprocess.
    Manifest(PathBuf),
    /// A repository of a hub that speaks Hugging Face's protocol, with `model.safetensors` and timm's `config.json`.
    Hub {
        /// `owner/name`.
        repository: String,
        /// A branch, a tag or a commit; by default `main`.
        revision: Option<String>,
        /// Where it is.
        hub: Hub,
    },
    /// Read by the caller.
    Bytes {
        /// Where it was read.
        name: String,
        /// `model.safetensors`; none where only the manifest was asked for.
        weights: Option<Bytes>,
        /// `manifest.json`; without one ImageNet's preprocessing is assumed.
        manifest: Option<Bytes>,
        /// The `int8.json` beside them.
        calibration: Option<Bytes>,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::Folder(path) | Self::File(path) | Self::Manifest(path) => path.display().fmt(f),
            Self::Hub {
                repository,
                revision: None,
                ..
            } => write!(f, "hf:{repository}"),
            Self::Hub {
                repository,
                revision: Some(revision),
                ..
            } => write!(f, "hf:{repository}@{revision}"),
            Self::Bytes { name, .. } => f.write_str(name),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    /// A hub is the one that the environment names. A path that ends in `.safetensors` is a file of weights, one that ends in
    /// `.json` a manifest, any other a folder.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "bundled" {
            return Ok(Self::Bundled);
        }
        if let Some(repository) = text.strip_prefix("hf:") {
            return hub_source(repository);
        }
        if text.is_empty() || text.contains("://") {
            return Err(format!(
                "{text:?} is no source of weights: bundled, a path or hf:owner/name[@revision] expected"
            ));
        }
        let path = PathBuf::from(text);
        let extension = path.extension().and_then(|extension| extension.to_str());
        Ok(match extension {
            Some("safetensors") => Self::File(path),
            Some("json") => Self::Manifest(path),
            _ => Self::Folder(path),
        })
    }
}

fn hub_source(text: &str) -> Result<Source, String> {
    let (repository, revision) = match text.split_once('@') {
        Some((repository, revision)) => (repository, Some(revision.to_owned())),
        None => (text, None),
    };
    let name = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part.chars().all(plain) && !part.starts_with('.')
    };
    let well_formed = repository
        .split_once('/')
        .is_some_and(|(owner, model)| name(owner) && name(model));
    let climbs = revision
        .as_ref()
        .is_some_and(|revision| revision.split('/').any(|part| !name(part)));
    if !well_formed || climbs {
        return Err(format!(
            "hf:{text} is no repository: hf:owner/name[@revision] expected"
        ));
    }
    Ok(Source::Hub {
        repository: repository.to_owned(),
        revision,
        hub: Hub::from_env(),
    })
}

/// The name of the weights file in folders and repositories.
const WEIGHTS: &str = "model.safetensors";
const CALIBRATION: &str = "int8.json";
const BUNDLED_WEIGHTS: &[u8] = include_bytes!("../weights/road-scenes/model.safetensors");
const BUNDLED_MANIFEST: &[u8] = include_bytes!("../weights/road-scenes/manifest.json");
const BUNDLED_CALIBRATION: &[u8] = include_bytes!("../weights/road-scenes/int8.json");

impl Source {
    /// What is known of the weights before they are read: labels may be missing still. Blocks.
    ///
    /// # Errors
    /// [`Error`], where it can't be read or is not a manifest.
    pub fn manifest(&self) -> Result<Manifest, Error> {
        match self {
            Self::Bundled => Manifest::parse("the bundled manifest", BUNDLED_MANIFEST),
            Self::Folder(path) => manifest_of_folder(path),
            Self::Manifest(path) => Manifest::parse(&path.display().to_string(), &file(path)?),
            Self::File(path) => Ok(Manifest::of_bare_weights(&stem(path))),
            Self::Hub {
                repository,
                revision,
                hub,
            } => {
                let config = hub.fetch(repository, revision.as_deref(), "config.json")?;
                TimmConfig::parse(&self.to_string(), &file(&config)?)?.manifest(repository)
            }
            Self::Bytes {
                name,
                manifest: None,
                ..
            } => Ok(Manifest::of_bare_weights(&stem(Path::new(name)))),
            Self::Bytes {
                name,
                manifest: Some(json),
                ..
            } => Manifest::parse(&format!("the manifest of {name}"), json),
        }
    }

    /// The ranges of activations beside the weights, which int8 needs: what the file is called, and its JSON; none where
    /// there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it is there and can't be read.
    pub fn calibration(&self) -> Result<Option<(String, Bytes)>, Error> {
        if let Some(path) = self.calibration_path().filter(|path| path.exists()) {
            return Ok(Some((path.display().to_string(), file(&path)?)));
        }
        Ok(match self {
            Self::Bundled => {
                let json = Bytes::from_static(BUNDLED_CALIBRATION);
                Some(("the bundled calibration".to_owned(), json))
            }
            Self::Bytes {
                name,
                calibration: Some(json),
                ..
            } => Some((format!("the calibration of {name}"), json.clone())),
            _ => None,
        })
    }

    /// Where the calibration of weights on disk belongs: `int8.json` in their folder, `name.int8.json` beside
    /// `name.safetensors`.
    pub fn calibration_path(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(path) => Some(path.join(CALIBRATION)),
            Self::File(path) => Some(path.with_extension(CALIBRATION)),
            _ => None,
        }
    }

    /// The file of weights, whole. Blocks for as long as the disk or the hub takes.
    ///
    /// # Errors
    /// [`Error`], where there is none or it can't be read.
    pub fn weights(&self) -> Result<Bytes, Error> {
        match self {
            Self::Bundled => Ok(Bytes::from_static(BUNDLED_WEIGHTS)),
            Self::Folder(path) => file(&path.join(WEIGHTS)),
            Self::File(path) => file(path),
            Self::Hub {
                repository,
                revision,
                hub,
            } => file(&hub.fetch(repository, revision.as_deref(), WEIGHTS)?),
            Self::Bytes {
                weights: Some(weights),
                ..
            } => Ok(weights.clone()),
            Self::Manifest(_) | Self::Bytes { weights: None, .. } => {
                Err(Error::invalid(self, "it is a manifest without weights"))
            }
        }
    }
}

fn manifest_of_folder(path: &Path) -> Result<Manifest, Error> {
    let (manifest, config) = (path.join("manifest.json"), path.join("config.json"));
    if !manifest.exists() && config.exists() {
        return TimmConfig::parse(&config.display().to_string(), &file(&config)?)?
            .manifest(&stem(path));
    }
    Manifest::parse(&manifest.display().to_string(), &file(&manifest)?)
}

fn file(path: &Path) -> Result<Bytes, Error> {
    std::fs::read(path)
        .map(Bytes::from)
        .map_err(|error| Error::unavailable(path.display(), error))
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(
        || "model".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
