//! What the settings say of where a model is: a [`Source`] that is read from here, or objects in S3.

use crate::Source;
use std::{fmt, str::FromStr};

/// A model, as a setting names it: what [`Source`] takes, or `s3://bucket/prefix/` or `s3://bucket/key.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Read by this crate.
    Here(Source),
    /// Downloaded by the caller, who knows S3, and then a [`Source::Bytes`].
    S3(InBucket),
}

/// A model in S3: a prefix with `model.safetensors`, `manifest.json` and, for int8, `int8.json`; or the key of a single
/// `.safetensors` file, which comes without a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InBucket {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix, or the key of the file.
    key: String,
}

impl InBucket {
    /// Largest weights file that is downloaded, in bytes; the largest published ResNet has 0.4 GB.
    pub const MAX_WEIGHTS: u64 = 2 << 30;
    /// Largest manifest or calibration that is downloaded, in bytes.
    pub const MAX_MANIFEST: u64 = 16 << 20;

    /// The weights' key.
    pub fn weights(&self) -> String {
        self.beside("model.safetensors")
            .unwrap_or_else(|| self.key.clone())
    }

    /// The manifest's key; none where there is only a file of weights.
    pub fn manifest(&self) -> Option<String> {
        self.beside("manifest.json")
    }

    /// The key of the calibration, which need not be there; none where there is only a file of weights.
    pub fn calibration(&self) -> Option<String> {
        self.beside("int8.json")
    }

    fn beside(&self, name: &str) -> Option<String> {
        let folder = self.key.trim_end_matches('/');
        if folder.ends_with(".safetensors") {
            None
        } else if folder.is_empty() {
            Some(name.to_owned())
        } else {
            Some(format!("{folder}/{name}"))
        }
    }
}

impl Location {
    /// Why this can't work, where that shows before anything is read.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Here(Source::Folder(path)) if !path.is_dir() => {
                Some(format!("{} is not a folder", path.display()))
            }
            Self::Here(Source::File(path) | Source::Manifest(path)) if !path.is_file() => {
                Some(format!("{} is not a file", path.display()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for InBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(source) => source.fmt(f),
            Self::S3(place) => place.fmt(f),
        }
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return text.parse().map(Self::Here);
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("{text:?} is not s3://bucket/prefix"));
        }
        Ok(Self::S3(InBucket {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_bucket(text: &str) -> InBucket {
        match text.parse().unwrap() {
            Location::S3(place) => place,
            Location::Here(source) => panic!("{source}"),
        }
    }

    #[test]
    fn a_prefix_holds_three_files() {
        for text in ["s3://models/road/7", "s3://models/road/7/"] {
            let place = in_bucket(text);
            assert_eq!(place.bucket, "models");
            assert_eq!(place.weights(), "road/7/model.safetensors");
            assert_eq!(place.manifest().unwrap(), "road/7/manifest.json");
            assert_eq!(place.calibration().unwrap(), "road/7/int8.json");
        }
        assert_eq!(in_bucket("s3://models").weights(), "model.safetensors");
    }

    #[test]
    fn a_file_of_weights_comes_alone() {
        let place = in_bucket("s3://models/resnet50.safetensors");
        assert_eq!(place.weights(), "resnet50.safetensors");
        assert_eq!((place.manifest(), place.calibration()), (None, None));
    }

    #[test]
    fn other_schemes_and_missing_paths_are_refused() {
        assert!("s3:///key".parse::<Location>().is_err());
        assert!("ftp://models/road".parse::<Location>().is_err());
        let missing: Location = "no/such/folder".parse().unwrap();
        assert_eq!(missing.problem().unwrap(), "no/such/folder is not a folder");
        let missing: Location = "no/such/manifest.json".parse().unwrap();
        assert!(missing.problem().unwrap().ends_with("is not a file"));
    }
}
