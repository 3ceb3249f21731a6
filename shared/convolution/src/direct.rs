//! Convolutions by the definition: implicit GEMM over the pixels' own neighbourhoods, nothing unrolled.

use std::ops::Range;

use half::bf16;

use crate::convolution::{Cut, Shape, Views, part};
use crate::extent::Extent;
use crate::isa::{Isa, Precision};
use crate::kernels::{Panel, Pixel};
use crate::packing::{Packed, Slice};

/// Output pixels that go through all panels before the next ones: whole tiles of any height up to six,
/// whose inputs stay in the second-level cache and whose places are looked up once.
const BLOCK: usize = 120;
/// Bytes of input that a block of pixels may span, to stay in the second-level cache beside the weights.
const INPUT_BYTES: usize = 160 << 10;

/// Bytes of what kernels multiply at a time.
const WORD: usize = 4;

pub(crate) struct Direct {
    precision: Precision,
    packed: Packed,
}

/// Two bfloat16 in the bits of a word, the first one lower.
fn pair(first: f32, second: f32) -> f32 {
    let bits = |value| u32::from(bf16::from_f32(value).to_bits());
    f32::from_bits(bits(first) | bits(second) << 16)
}

impl Direct {
    /// `weight` is `[out_channels, in_channels, height, width]`, as long as `shape` says.
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
            Precision::F32 => factor(o, k),
            Precision::Bf16 => pair(factor(o, 2 * k), factor(o, 2 * k + 1)),
        };
        Self {
            precision,
            packed: Packed::new(isa, shape.out_channels, words, bias, word),
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
