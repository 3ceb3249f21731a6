//! Where the preprocessing comes from: the manifest of the model that the tensors are for, so that the two can't drift
//! apart.

use anyhow::{Context, ensure};
use serde::Deserialize;
use sightline_vision::Preprocessing;
use std::{convert::Infallible, fmt, fs, path::PathBuf, str::FromStr};

/// The manifest of the weights that the infer service runs with unless it is told otherwise.
const BUNDLED: &str = include_str!("../../../shared/model/weights/road-scenes/manifest.json");

/// Whose manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// The bundled model's.
    Bundled,
    /// A manifest.json, or a folder that holds one.
    File(PathBuf),
    /// Known already; a program that runs the model in the same process gives it this way.
    Known(Preprocessing),
}

/// The part of a manifest that matters here.
#[derive(Deserialize)]
struct Contents {
    preprocessing: Preprocessing,
}

impl Manifest {
    /// Reads the manifest and checks what it says.
    pub fn preprocessing(&self) -> anyhow::Result<Preprocessing> {
        let preprocessing = match self {
            Self::Bundled => parse(BUNDLED),
            Self::File(path) => {
                let path = if path.is_dir() {
                    path.join("manifest.json")
                } else {
                    path.clone()
                };
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("can't read {}", path.display()))?;
                parse(&text).with_context(|| format!("{} is not a manifest", path.display()))
            }
            Self::Known(preprocessing) => Ok(preprocessing.clone()),
        }?;
        let problems = preprocessing.problems();
        ensure!(
            problems.is_empty(),
            "the manifest's preprocessing can't work: {}",
            problems.join("; ")
        );
        Ok(preprocessing)
    }
}

fn parse(text: &str) -> anyhow::Result<Preprocessing> {
    let Contents { preprocessing } = serde_json::from_str(text)?;
    Ok(preprocessing)
}

impl FromStr for Manifest {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "bundled" {
            Self::Bundled
        } else {
            Self::File(text.into())
        })
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::File(path) => path.display().fmt(f),
            Self::Known(_) => f.write_str("known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_manifest_is_in_order() {
        assert_eq!(Manifest::Bundled.preprocessing().unwrap().size, [224, 224]);
    }

    #[test]
    fn a_file_or_its_folder_will_do() {
        let folder = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/model/weights/road-scenes"
        ));
        let file = Manifest::File(folder.join("manifest.json"));
        assert_eq!(
            file.preprocessing().unwrap(),
            Manifest::Bundled.preprocessing().unwrap()
        );
        assert_eq!(
            Manifest::File(folder).preprocessing().unwrap(),
            Manifest::Bundled.preprocessing().unwrap()
        );
        let missing = Manifest::File("no/such/manifest.json".into())
            .preprocessing()
            .unwrap_err();
        assert!(missing.to_string().contains("no/such/manifest.json"));
    }

    #[test]
    fn nonsense_is_refused() {
        let flat = Preprocessing {
            size: [0, 0],
            ..Preprocessing::default()
        };
        assert!(Manifest::Known(flat).preprocessing().is_err());
    }
}
