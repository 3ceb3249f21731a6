//! Thumbnails.

use crate::{
    Picture,
    geometry::{self, Window},
    resample,
};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use serde::{Deserialize, Serialize};

/// The size of a thumbnail, and how the picture fits into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThumbnailSpec {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// How a picture of other proportions fits.
    pub fit: Fit,
}

/// How a picture fits into a thumbnail of other proportions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fit {
    /// The picture fills the thumbnail; the rest of it is cropped.
    #[default]
    Cover,
    /// The thumbnail shows the complete picture, and is less wide or less high than asked for.
    Contain,
}

impl Default for ThumbnailSpec {
    fn default() -> Self {
        Self {
            width: 128,
            height: 128,
            fit: Fit::Cover,
        }
    }
}

/// The thumbnail as an RGB PNG. The same picture always gives the same bytes.
pub fn thumbnail(picture: &Picture, spec: &ThumbnailSpec) -> Vec<u8> {
    let source = (picture.width(), picture.height());
    let bounds = (spec.width, spec.height);
    let (window, size) = match spec.fit {
        Fit::Cover => (geometry::cover_window(source, bounds), bounds),
        Fit::Contain => (whole(source), geometry::contain_size(source, bounds)),
    };
    png(&resample::quick(picture, window, size), size)
}

fn whole((width, height): (u32, u32)) -> Window {
    Window {
        left: 0.0,
        top: 0.0,
        width: width.into(),
        height: height.into(),
    }
}

/// Compressed for speed rather than size: a thumbnail is written once and read a few times.
fn png(rgb: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut png = Vec::with_capacity(rgb.len());
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(rgb, width, height, ExtendedColorType::Rgb8)
        .expect("a vector takes every byte, and the size fits the pixels");
    png
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    /// Left half red, right half blue, 40×10.
    fn halves() -> Picture {
        let row = [[255, 0, 0].repeat(20), [0, 0, 255].repeat(20)].concat();
        Picture::from_rgb(40, 10, row.repeat(10)).unwrap()
    }

    #[test]
    fn cover_fills_the_frame() {
        let spec = ThumbnailSpec {
            width: 8,
            height: 8,
            fit: Fit::Cover,
        };
        let small = decode(&thumbnail(&halves(), &spec), &Limits::default()).unwrap();
        assert_eq!((small.width(), small.height()), (8, 8));
        assert_eq!(small.rgb()[..3], [255, 0, 0]);
        assert_eq!(small.rgb()[21..24], [0, 0, 255]);
    }

    #[test]
    fn contain_shows_everything() {
        let spec = ThumbnailSpec {
            width: 8,
            height: 8,
            fit: Fit::Contain,
        };
        let small = decode(&thumbnail(&halves(), &spec), &Limits::default()).unwrap();
        assert_eq!((small.width(), small.height()), (8, 2));
    }
}
