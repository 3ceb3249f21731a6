//! From planes of pixels to channels-last activations: the only change of layout in a network.

use crate::element::Element;
use crate::error::{Error, expect};
use crate::extent::Extent;
use crate::grid::Grid;
use crate::isa::Precision;

/// Scale and offset of each channel for images of bytes: `(byte / 255 - mean) / std`.
///
/// Images of floats are taken as normalised already. The default leaves bytes as they are, but for the
/// division by 255.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalisation {
    /// One for each channel, or empty for zeros.
    pub mean: Vec<f32>,
    /// One for each channel, or empty for ones.
    pub std: Vec<f32>,
}

/// `value * factor + offset` is what an activation holds.
pub(crate) struct Scaling {
    /// Of bytes, for each channel.
    bytes: Vec<(f32, f32)>,
    /// Of floats.
    floats: (f32, f32),
}

/// Images `[n, channels, height, width]`.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
}

impl Scaling {
    /// Together with the grid of all values that bytes can have, where activations are bytes.
    pub(crate) fn new(
        channels: usize,
        normalisation: &Normalisation,
        precision: Precision,
    ) -> Result<(Self, Grid), Error> {
        let Normalisation { mean, std } = normalisation;
        for (what, values) in [("mean", mean), ("std", std)] {
            if !values.is_empty() {
                expect(what, channels, values.len())?;
            }
        }
        let at = |c: usize| {
            let mean = mean.get(c).copied().unwrap_or(0.0);
            let std = std.get(c).copied().unwrap_or(1.0);
            (1.0 / (255.0 * std), -mean / std)
        };
        let bytes: Vec<(f32, f32)> = (0..channels).map(at).collect();
        let grid = match precision {
            Precision::Int8 => {
                let least = bytes.iter().map(|(_, offset)| *offset);
                let largest = bytes.iter().map(|(factor, offset)| 255.0 * factor + offset);
                Grid::over(
                    least.fold(f32::INFINITY, f32::min),
                    largest.fold(f32::NEG_INFINITY, f32::max),
                )
            }
            _ => Grid::PLAIN,
        };
        let (scale, zero) = grid.inverse();
        let gridded = |(factor, offset)| (factor * scale, offset * scale + zero);
        let scaling = Self {
            bytes: bytes.into_iter().map(gridded).collect(),
            floats: (scale, zero),
        };
        Ok((scaling, grid))
    }

    /// Writes row `row % height` of image `row / height`, and zeros to channels that exist in memory only.
    pub(crate) fn fill<E: Element>(
        &self,
        source: Source,
        extent: &Extent,
        row: usize,
        to: &mut [E],
    ) {
        let Extent {
            height,
            width,
            channels,
            ..
        } = *extent;
        let (n, y) = (row / height, row % height);
        let planes = self.bytes.len();
        for padding in planes..channels {
            let to = to.iter_mut().skip(padding).step_by(channels);
            to.for_each(|to| *to = E::of(0.0));
        }
        for (c, &(factor, offset)) in self.bytes.iter().enumerate() {
            let start = ((n * planes + c) * height + y) * width;
            let to = to.iter_mut().skip(c).step_by(channels);
            match source {
                Source::Bytes(bytes) => {
                    for (to, &byte) in to.zip(&bytes[start..start + width]) {
                        *to = E::of(f32::from(byte) * factor + offset);
                    }
                }
                Source::Floats(floats) => {
                    let (factor, offset) = self.floats;
                    for (to, &float) in to.zip(&floats[start..start + width]) {
                        *to = E::of(float * factor + offset);
                    }
                }
            }
        }
    }
}
