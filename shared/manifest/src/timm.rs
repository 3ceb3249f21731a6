//! What timm publishes beside its weights, read as a manifest.

use crate::{
    Error, Interpolation, Manifest, Preprocessing, Resize, manifest::default_top_k,
    preprocessing::imagenet_crop,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The `config.json` with which timm publishes a model, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct TimmConfig {
    architecture: Option<String>,
    pretrained_cfg: TimmPreprocessing,
    /// A list, or an object from class to name.
    label_names: Option<TimmLabels>,
    /// From name to what people call it.
    #[serde(default)]
    label_descriptions: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct TimmPreprocessing {
    input_size: [usize; 3],
    #[serde(default = "imagenet_crop")]
    crop_pct: f64,
    crop_mode: Option<String>,
    interpolation: Option<String>,
    mean: [f32; 3],
    std: [f32; 3],
    tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TimmLabels {
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

impl TimmConfig {
    pub fn parse(what: &str, json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(json)
            .map_err(|error| Error::invalid(format!("timm configuration of {what}"), error))
    }

    /// `name` is what the model is called where the configuration does not say it.
    pub fn manifest(self, name: &str) -> Result<Manifest, Error> {
        let config = &self.pretrained_cfg;
        let unknown = |field: &str, value: &str| {
            Err(Error::invalid(
                format!("timm configuration of {name}"),
                format!("{field} {value:?} is not supported"),
            ))
        };
        let resize = match config.crop_mode.as_deref() {
            None | Some("center") => Resize::ShortestEdge,
            Some("squash") => Resize::Stretch,
            Some(other) => return unknown("crop_mode", other),
        };
        let interpolation = match config.interpolation.as_deref() {
            None | Some("bilinear") => Interpolation::Bilinear,
            Some("bicubic") => Interpolation::Bicubic,
            Some(other) => return unknown("interpolation", other),
        };
        let [3, height, width] = config.input_size else {
            return unknown("input_size", &format!("{:?}", config.input_size));
        };
        let preprocessing = Preprocessing {
            size: [height, width],
            crop_fraction: config.crop_pct,
            resize,
            interpolation,
            mean: config.mean,
            std: config.std,
        };
        let name = match (&self.architecture, &config.tag) {
            (Some(architecture), Some(tag)) if !tag.is_empty() => format!("{architecture}.{tag}"),
            (Some(architecture), _) => architecture.clone(),
            _ => name.to_owned(),
        };
        Ok(Manifest {
            name,
            labels: self.labels()?,
            preprocessing,
            top_k: default_top_k(),
        })
    }

    /// What people call each class; none where the configuration is silent.
    fn labels(&self) -> Result<Vec<String>, Error> {
        let names = match &self.label_names {
            None => return Ok(Vec::new()),
            Some(TimmLabels::List(names)) => names.clone(),
            Some(TimmLabels::Map(names)) => {
                let at = |class: usize| names.get(&class.to_string()).cloned();
                let gap =
                    |class| Error::invalid("label_names", format!("class {class} has no name"));
                (0..names.len())
                    .map(|class| at(class).ok_or_else(|| gap(class)))
                    .collect::<Result<_, _>>()?
            }
        };
        let spoken = |name: String| self.label_descriptions.get(&name).cloned().unwrap_or(name);
        Ok(names.into_iter().map(spoken).collect())
    }
}
