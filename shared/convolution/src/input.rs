//! From planes of pixels to channels-last activations: the only change of layout in a network.

use crate::element::Element;
use crate::error::{Error, expect};
use crate::extent::Extent;

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

/// `byte * factor + offset` for each channel.
pub(crate) struct Scaling(Vec<(f32, f32)>);

/// Images `[n, channels, height, width]`.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
}

impl Scaling {
    pub(crate) fn new(channels: usize, normalisation: &Normalisation) -> Result<Self, Error> {
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
        Ok(Self((0..channels).map(at).collect()))
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
        let planes = self.0.len();
        for padding in planes..channels {
            let to = to.iter_mut().skip(padding).step_by(channels);
            to.for_each(|to| *to = E::of(0.0));
        }
        for (c, &(factor, offset)) in self.0.iter().enumerate() {
            let start = ((n * planes + c) * height + y) * width;
            let to = to.iter_mut().skip(c).step_by(channels);
            match source {
                Source::Bytes(bytes) => {
                    for (to, &byte) in to.zip(&bytes[start..start + width]) {
                        *to = E::of(f32::from(byte) * factor + offset);
                    }
                }
                Source::Floats(floats) => {
                    for (to, &float) in to.zip(&floats[start..start + width]) {
                        *to = E::of(float);
                    }
                }
            }
        }
    }
}
