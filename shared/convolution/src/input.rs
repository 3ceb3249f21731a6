//! From planes of pixels to channels-last activations: the only change of layout in a network.

use half::bf16;

use crate::element::Element;
use crate::error::{Error, expect};
use crate::extent::Extent;
use crate::grid::Grid;
use crate::precision::Precision;

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

/// What an activation holds for a number of an image.
pub(crate) struct Scaling {
    /// For each channel and byte, the activation's bits.
    bytes: Vec<[u32; 256]>,
    /// Of floats, factor and offset.
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
        let table = |(factor, offset)| {
            std::array::from_fn(|byte| bits(precision, byte as f32 * factor + offset))
        };
        let scaling = Self {
            bytes: bytes.into_iter().map(gridded).map(table).collect(),
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
        match source {
            Source::Bytes(bytes) => {
                let value = |c: usize, byte: u8| E::of_bits(self.bytes[c][usize::from(byte)]);
                self.lay(bytes, value, extent, row, to);
            }
            Source::Floats(floats) => {
                let (factor, offset) = self.floats;
                let value = |_, float: f32| E::of(float * factor + offset);
                self.lay(floats, value, extent, row, to);
            }
        }
    }

    /// As [`Scaling::fill`], of the `value` of each channel's numbers.
    fn lay<T: Copy, E: Element>(
        &self,
        numbers: &[T],
        value: impl Fn(usize, T) -> E,
        extent: &Extent,
        row: usize,
        to: &mut [E],
    ) {
        let (planes, width) = (self.bytes.len(), extent.width);
        let (n, y) = (row / extent.height, row % extent.height);
        let line = |c: usize| &numbers[((n * planes + c) * extent.height + y) * width..][..width];
        // Colours, as they lie in memory in each precision, go pixel by pixel.
        match (planes, extent.channels) {
            (3, 3) => interleave::<_, _, 3>([line(0), line(1), line(2)], value, to),
            (3, 4) => interleave::<_, _, 4>([line(0), line(1), line(2)], value, to),
            (_, channels) => {
                to.fill(E::of(0.0));
                for c in 0..planes {
                    for (to, &number) in to.iter_mut().skip(c).step_by(channels).zip(line(c)) {
                        *to = value(c, number);
                    }
                }
            }
        }
    }
}

fn bits(precision: Precision, value: f32) -> u32 {
    match precision {
        Precision::F32 => f32::of(value).bits(),
        Precision::Bf16 => bf16::of(value).bits(),
        Precision::Int8 => u8::of(value).bits(),
    }
}

/// Three planes' lines as pixels of `C` channels, of which those beyond the third are zero.
fn interleave<T: Copy, E: Element, const C: usize>(
    lines: [&[T]; 3],
    value: impl Fn(usize, T) -> E,
    to: &mut [E],
) {
    let pixels = to.as_chunks_mut::<C>().0.iter_mut();
    let [red, green, blue] = lines.map(|line| line.iter().copied());
    for (pixel, ((red, green), blue)) in pixels.zip(red.zip(green).zip(blue)) {
        let colours = [value(0, red), value(1, green), value(2, blue)];
        *pixel = std::array::from_fn(|c| colours.get(c).copied().unwrap_or(E::of(0.0)));
    }
}
