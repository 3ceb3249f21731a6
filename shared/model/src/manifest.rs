//! What a file of weights does not say about itself: its name, its labels and how a picture becomes its input.

use crate::Error;
use serde::{Deserialize, Serialize};

/// `manifest.json`, beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    /// One for each class, in the order of the logits.
    pub labels: Vec<String>,
    pub preprocessing: Preprocessing,
    /// How many classes a prediction names unless a setting says otherwise.
    #[serde(default = "default_top_k")]
    pub top_k: usize,
}

pub(crate) fn default_top_k() -> usize {
    5
}

/// How a picture becomes a tensor; the very JSON that the preprocess stage reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Height and width of the tensor.
    pub size: [usize; 2],
    /// The share of the resized picture that the crop keeps, 0 to 1.
    #[serde(default = "imagenet_crop")]
    pub crop_fraction: f32,
    #[serde(default)]
    pub resize: Resize,
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Of the channels red, green, blue scaled to 0…1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// What becomes of the picture's proportions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Kept: the shortest edge gets the size, the crop cuts the rest.
    #[default]
    ShortestEdge,
    /// Given up: both edges get the size.
    Stretch,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    #[default]
    Bilinear,
    Bicubic,
}

pub(crate) fn imagenet_crop() -> f32 {
    0.875
}

/// The evaluation transform of torchvision's ImageNet weights: shortest edge to 256, centre crop of 224.
impl Default for Preprocessing {
    fn default() -> Self {
        Self {
            size: [224, 224],
            crop_fraction: imagenet_crop(),
            resize: Resize::default(),
            interpolation: Interpolation::default(),
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

/// The largest side of an input; 32 times down-sampled it must leave at least one pixel.
const SIDES: std::ops::RangeInclusive<usize> = 32..=4096;

impl Manifest {
    /// For weights that come without one: ImageNet's preprocessing, and numbers for labels.
    pub(crate) fn of_bare_weights(name: &str) -> Self {
        let preprocessing = Preprocessing::default();
        Self {
            name: name.to_owned(),
            labels: Vec::new(),
            preprocessing,
            top_k: default_top_k(),
        }
    }

    pub(crate) fn parse(what: &str, json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(json).map_err(|error| Error::invalid(what, error))
    }

    /// Checks everything that the weights' class count and the arithmetic rely on; fills in labels that are missing.
    pub(crate) fn completed(mut self, classes: usize) -> Result<Self, Error> {
        let invalid = |why: String| Err(Error::invalid(format!("manifest of {}", self.name), why));
        let Preprocessing {
            size,
            crop_fraction,
            mean,
            std,
            ..
        } = &self.preprocessing;
        if !size.iter().all(|side| SIDES.contains(side)) {
            return invalid(format!("input size {size:?} is not within {SIDES:?}"));
        }
        if !(*crop_fraction > 0.0 && *crop_fraction <= 1.0) {
            return invalid(format!(
                "crop fraction {crop_fraction} is not within 0 to 1"
            ));
        }
        if !mean.iter().all(|value| value.is_finite())
            || !std.iter().all(|value| value.is_finite() && *value > 0.0)
        {
            return invalid(format!(
                "mean {mean:?} and standard deviation {std:?} must be finite, the latter positive"
            ));
        }
        if self.top_k == 0 {
            return invalid("top_k is 0".to_owned());
        }
        if self.labels.is_empty() {
            self.labels = default_labels(classes);
        }
        if self.labels.len() != classes {
            return invalid(format!(
                "{} labels for the {classes} classes of the weights",
                self.labels.len()
            ));
        }
        Ok(self)
    }
}

fn default_labels(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("class {class}")).collect()
}

/// A file of labels: one a line, in the order of the logits; blank lines at the end do not count.
pub fn labels_of_text(what: &str, text: &str) -> Result<Vec<String>, Error> {
    let labels: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    match labels.iter().position(String::is_empty) {
        Some(line) => Err(Error::invalid(what, format!("line {} is empty", line + 1))),
        None => Ok(labels),
    }
}
