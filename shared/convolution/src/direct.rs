//! Convolutions by the definition: implicit GEMM over the pixels' own neighbourhoods, nothing unrolled.

use std::ops::Range;

use crate::aligned::Aligned;
use crate::convolution::{Cut, Shape, Views, part};
use crate::extent::Extent;
use crate::grid::Grids;
use crate::isa::{Isa, Precision};
use crate::kernels::{Panel, Pixel, families};
use crate::packing::{Packed, Slice, WORD, pair};

/// Output pixels that go through all panels before the next ones: whole tiles of any height up to six,
/// whose inputs stay in the second-level cache and whose places are looked up once.
const BLOCK: usize = 120;
/// Bytes of input that a block of pixels may span, to stay in the second-level cache beside the weights.
const INPUT_BYTES: usize = 160 << 10;

pub(crate) struct Direct {
    precision: Precision,
    packed: Packed,
    /// What sums of bytes are multiplied by, for each output channel; empty in other precisions.
    scales: Aligned,
    residual_factor: f32,
}

/// Weights of one output channel as signed bytes, on a grid of their own around zero.
fn signed_bytes(weight: &[f32]) -> (Vec<i8>, f32) {
    let largest = weight.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let bytes = weight.iter().map(|w| (w / step).round_ties_even() as i8);
    (bytes.collect(), step)
}

impl Direct {
    /// For bytes: with the sum `s` of `input byte * weight byte`, the output byte is `s * scale + bias` (plus the
    /// residual byte times a factor), into which all grids are folded.
    pub(crate) fn of_bytes(
        isa: Isa,
        weight: &[f32],
        bias: &[f32],
        shape: &Shape,
        grids: &Grids,
    ) -> Self {
        let Grids {
            input,
            residual,
            output,
        } = *grids;
        let (to_byte, zero) = output.inverse();
        let residual_factor = residual.map_or(0.0, |grid| grid.scale * to_byte);
        let residual_zero = residual.map_or(0.0, |grid| f32::from(grid.zero));
        let taps = shape.kernel.0 * shape.kernel.1;
        let mut bytes = Vec::with_capacity(weight.len());
        let mut scales = Vec::with_capacity(bias.len());
        let mut offsets = Vec::with_capacity(bias.len());
        for (filter, bias) in weight.chunks_exact(shape.in_channels * taps).zip(bias) {
            let (filter, step) = signed_bytes(filter);
            let sum: i32 = filter.iter().map(|byte| i32::from(*byte)).sum();
            let scale = input.scale * step * to_byte;
            scales.push(scale);
            offsets.push(
                bias * to_byte + zero
                    - scale * f32::from(input.zero) * sum as f32
                    - residual_factor * residual_zero,
            );
            bytes.extend(filter);
        }
        let stored = Precision::Int8.stored(shape.in_channels);
        let byte = |o: usize, k: usize| {
            let (tap, channel) = (k / stored, k % stored);
            let at = (o * shape.in_channels + channel) * taps + tap;
            if channel < shape.in_channels {
                bytes[at]
            } else {
                0
            }
        };
        let word = |o: usize, k: usize| {
            let four = [0, 1, 2, 3].map(|i| byte(o, WORD * k + i).cast_unsigned());
            f32::from_bits(u32::from_le_bytes(four))
        };
        let packed = Packed::new(
            (families, isa),
            shape.out_channels,
            stored * taps / WORD,
            &offsets,
            word,
        );
        let mut padded = Aligned::zeroed(packed.bias.len());
        padded.as_mut_slice()[..scales.len()].copy_from_slice(&scales);
        Self {
            precision: Precision::Int8,
            packed,
            scales: padded,
            residual_factor,
        }
    }

    /// For floats. `weight` is `[out_channels, in_channels, height, width]`, as long as `shape` says.
    pub(crate) fn new(isa: Isa, weight: &[f32], bias: &[f32], shape: &Shape) -> Self {
        let taps = shape.kernel.0 * shape.kernel.1;
        let precision = isa.precision();
        let stored = precision.stored(shape.in_channels);
        let factor = |o: usize, k: usize| {
            let (tap, channel) = (k / stored, k % stored);
            let at = (o * shape.in_channels + channel) * taps + tap;
            if channel < shape.in_channels {
                weight[at]
            } else {
                0.0
            }
        };
        let words = stored * taps * precision.bytes() / WORD;
        let word = |o: usize, k: usize| match precision {
            Precision::Bf16 => pair(factor(o, 2 * k), factor(o, 2 * k + 1)),
            _ => factor(o, k),
        };
        Self {
            precision,
            packed: Packed::new((families, isa), shape.out_channels, words, bias, word),
            scales: Aligned::zeroed(0),
            residual_factor: 1.0,
        }
    }

    /// Cuts the work on `images` images into `wanted` chunks or so, of output pixels.
    pub(crate) fn cut(&self, shape: &Shape, images: usize, output: &Extent, wanted: usize) -> Cut {
        let pixels = images * output.pixels();
        let span = shape.in_channels * self.precision.bytes() * shape.stride.min(shape.kernel.1);
        let fitting = (INPUT_BYTES / span).clamp(24, 4096);
        let blocks = pixels.div_ceil(fitting);
        let groups = wanted.div_ceil(blocks).min(self.packed.slices.len());
        let blocks = blocks.max(wanted.div_ceil(groups)).min(pixels);
        Cut {
            units: pixels,
            blocks,
            groups,
        }
    }

    /// Computes the output pixels `pixels`, the channels of group `group` of `groups`.
    ///
    /// # Safety
    /// As [`Conv2d::compute`](crate::Conv2d::compute).
    pub(crate) unsafe fn compute(
        &self,
        shape: &Shape,
        views: &Views,
        pixels: Range<usize>,
        (group, groups): (usize, usize),
    ) {
        let slices = part(self.packed.slices.len(), groups, group);
        let mut places = [Pixel::default(); BLOCK];
        let mut first = pixels.start;
        while first < pixels.end {
            let block = &mut places[..BLOCK.min(pixels.end - first)];
            self.place(shape, views, first, block);
            for slice in &self.packed.slices[slices.clone()] {
                // SAFETY: `place` keeps to the extents, which the caller vouches for.
                unsafe { self.compute_slice(shape, views, slice, block) };
            }
            first += block.len();
        }
    }

    /// Computes the channels of `slice` at `places`, in tiles of as equal a height as can be.
    ///
    /// # Safety
    /// As [`Conv2d::compute`](crate::Conv2d::compute); `places` lie inside the views' extents.
    unsafe fn compute_slice(&self, shape: &Shape, views: &Views, slice: &Slice, places: &[Pixel]) {
        let bytes = self.precision.bytes();
        let words = |numbers: usize| numbers * bytes / WORD;
        let residual = match views.residual {
            // SAFETY: an output channel's index is within the first pixel.
            Some((start, _)) => unsafe { start.add(slice.first * bytes) },
            None => std::ptr::null(),
        };
        // SAFETY: the slice's first channel, weights and bias lie within their blocks.
        let panel = unsafe {
            Panel {
                input: views.input.0.cast(),
                output: views.output.0.add(slice.first * bytes),
                residual,
                weights: self.packed.weights_of(slice),
                bias: self.packed.bias.pointer().add(slice.first),
                scale: self.scales.pointer().wrapping_add(slice.first),
                residual_factor: self.residual_factor,
                next: self.packed.after(slice),
                runs: shape.kernel.0,
                run_length: words(shape.kernel.1 * self.precision.stored(shape.in_channels)),
                run_stride: words(views.input.1.row()),
                channels: slice.channels,
                relu: views.relu,
            }
        };
        // SAFETY: the family is of an available instruction set; the panel and the places keep the rest of
        // `Kernel`'s conditions.
        unsafe { slice.family.compute(&panel, places) };
    }

    /// Looks up where the output pixels from `first` on read and write.
    fn place(&self, shape: &Shape, views: &Views, first: usize, places: &mut [Pixel]) {
        let Shape {
            stride, padding, ..
        } = *shape;
        let (input, output) = (&views.input.1, &views.output.1);
        let residual = views.residual.as_ref().map_or(output, |(_, extent)| extent);
        let inset = input.border - padding;
        let words = |numbers: usize| numbers * self.precision.bytes() / WORD;
        let (mut n, in_image) = (first / output.pixels(), first % output.pixels());
        let (mut y, mut x) = (in_image / output.width, in_image % output.width);
        let mut places = places.iter_mut();
        while places.len() > 0 {
            let start = n * input.stride
                + (y * stride + inset) * input.row()
                + (x * stride + inset) * input.channels;
            let mut place = Pixel {
                input: words(start),
                output: output.at(n, y, x),
                residual: residual.at(n, y, x),
            };
            for to in places.by_ref().take(output.width - x) {
                *to = place;
                place.input += words(stride * input.channels);
                place.output += output.channels;
                place.residual += output.channels;
            }
            x = 0;
            y += 1;
            if y == output.height {
                y = 0;
                n += 1;
            }
        }
    }
}
