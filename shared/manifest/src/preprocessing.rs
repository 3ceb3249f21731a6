//! How a picture becomes the input of a model: the `preprocessing` part of a model's `manifest.json`.

use serde::{Deserialize, Serialize};

/// What the weights were trained for. Absent fields are torchvision's for ImageNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Height and width of the tensor.
    pub size: [usize; 2],
    /// The share of the resized picture that the centre crop keeps, 0 to 1.
    #[serde(default = "imagenet_crop")]
    pub crop_fraction: f64,
    /// What becomes of its proportions.
    #[serde(default)]
    pub resize: Resize,
    /// How it is scaled.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Of red, green and blue scaled to 0…1; subtracted.
    pub mean: [f32; 3],
    /// Standard deviations of the same; divided by.
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

/// Both antialiased: the kernel grows with the reduction, as Pillow's does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// A triangle, two pixels wide.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, four pixels wide.
    Bicubic,
}

pub(crate) fn imagenet_crop() -> f64 {
    0.875
}

/// torchvision's for ImageNet: shortest edge to 256, centre crop of 224.
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

/// Sides of a tensor that make sense; the largest keeps a message within memory.
const SIDES: std::ops::RangeInclusive<usize> = 1..=4096;

/// The smallest crop: it bounds the size that is resized to.
const LEAST_CROP: f64 = 0.05;

impl Preprocessing {
    /// Everything that is wrong with it, a sentence each; those who compute with it rely on there being nothing.
    pub fn problems(&self) -> Vec<String> {
        let Self {
            size,
            crop_fraction,
            mean,
            std,
            ..
        } = self;
        let mut found = Vec::new();
        if !size.iter().all(|side| SIDES.contains(side)) {
            found.push(format!("size {size:?}: each side must be within {SIDES:?}"));
        }
        if !(LEAST_CROP..=1.0).contains(crop_fraction) {
            found.push(format!(
                "crop_fraction {crop_fraction}: must be within {LEAST_CROP} and 1"
            ));
        }
        if !mean.iter().all(|m| m.is_finite()) {
            found.push(format!("mean {mean:?}: must be finite"));
        }
        if !std.iter().all(|s| s.is_finite() && *s > 0.0) {
            found.push(format!("std {std:?}: must be finite and more than 0"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_manifest() {
        let json = r#"{"size": [224, 192], "resize": "stretch", "interpolation": "bicubic",
                       "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}"#;
        let read: Preprocessing = serde_json::from_str(json).unwrap();
        assert_eq!(read.size, [224, 192]);
        assert_eq!(read.crop_fraction, 0.875);
        assert_eq!(
            (read.resize, read.interpolation),
            (Resize::Stretch, Interpolation::Bicubic)
        );
        assert_eq!(read.problems(), Vec::<String>::new());
    }

    #[test]
    fn says_all_that_is_wrong() {
        let wrong = Preprocessing {
            size: [0, 224],
            crop_fraction: f64::NAN,
            mean: [f32::INFINITY; 3],
            std: [0.0; 3],
            ..Preprocessing::default()
        };
        assert_eq!(wrong.problems().len(), 4);
    }
}
