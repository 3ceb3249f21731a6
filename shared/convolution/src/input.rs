//! Conversion of images `[n, channels, height, width]` to channels-last activations: the network's only change of layout.

use crate::{
    element::Element,
    error::{Error, expect},
    extent::Extent,
    grid::Grid,
    precision::Precision,
};
use half::bf16;

/// Normalisation of `u8` images, for each channel: `(byte / 255 - mean) / std`.
///
/// `f32` images must be normalised already. The default divides by 255 only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalisation {
    /// One for each channel, or empty for zeros.
    pub mean: Vec<f32>,
    /// One for each channel, or empty for ones.
    pub std: Vec<f32>,
}

/// The conversion of an image's numbers to activations.
pub(crate) struct Scaling {
    /// For each channel and byte, the activation's bits.
    bytes: Vec<[u32; 256]>,
    /// Factor and offset for f32 images.
    floats: (f32, f32),
}

/// Images `[n, channels, height, width]`.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
}

impl Scaling {
    /// The conversion, and for int8 the grid over all values that a normalised byte can have.
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

    /// Writes row `row % height` of image `row / height`, and zeros to padding channels.
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

    /// As [`Scaling::fill`]; `value` converts a number of a channel.
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
        // Three colours have a loop of their own, for each number of channels in memory.
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

/// Interleaves a row of three planes into pixels of `C` channels; those beyond the third are zero.
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
