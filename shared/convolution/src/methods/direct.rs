//! The direct method: implicit GEMM, which reads each pixel's neighbourhood in place instead of unrolling the input.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::{
    packing::{Packed, Slice, pair},
    segments::{Spans, Steps},
};
use crate::{
    aligned::Aligned,
    cut::{CHUNK_MACS, CHUNKS_A_THREAD, Cut, part},
    extent::{Extent, Views},
    grid::Grids,
    kernels::{Epilogue, Isa, Panel, Pixel, WORD, families},
    precision::Precision,
    shape::Shape,
};
use std::ops::Range;

/// Output pixels that pass through all panels before the next ones: a multiple of every tile height up to six. Their
/// inputs stay in the second-level cache, and their offsets are computed once.
const BLOCK: usize = 120;
/// Bytes of input that a block of pixels may span, to stay in the second-level cache beside the weights.
const INPUT_BYTES: usize = 160 << 10;

/// [`CHUNK_MACS`] and [`CHUNKS_A_THREAD`] for matrix registers.
const MATRIX_CHUNK_MACS: usize = 8 * CHUNK_MACS;
const MATRIX_CHUNKS_A_THREAD: usize = 4;

pub(crate) struct Direct {
    precision: Precision,
    packed: Packed,
    /// For int8, the factor of the integer sums of each output channel; else empty.
    scales: Aligned,
    residual_factor: f32,
    /// Set if matrix registers are used.
    steps: Option<Steps>,
}

/// Quantizes the weights of one output channel to `i8` with zero point 0; returns codes and scale.
fn signed_bytes(weight: &[f32]) -> (Vec<i8>, f32) {
    let largest = weight.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let bytes = weight.iter().map(|w| (w / step).round_ties_even() as i8);
    (bytes.collect(), step)
}

/// Adjacent words in the inputs of an output pixel: a kernel row.
fn run_length(precision: Precision, shape: &Shape) -> usize {
    shape.kernel.1 * precision.stored(shape.in_channels) * precision.bytes() / WORD
}

/// The steps of a shape on matrix registers; `None` if `isa` has none or the shape does not suit them.
fn steps(isa: Isa, shape: &Shape) -> Option<Steps> {
    let (height, width) = shape.kernel;
    match isa {
        Isa::AmxBf16 | Isa::AmxInt8 => Steps::of(
            (height * width, width),
            run_length(isa.precision(), shape) / width,
        ),
        _ => None,
    }
}

impl Direct {
    /// For int8. With the sum `s` of input code × weight code, the output code is `s * scale + bias` (plus the residual
    /// code times a factor); all scales and zero points are folded into these.
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
        let steps = steps(isa, shape);
        let word = |o: usize, k: usize| {
            let k = steps.map_or(k, |steps| steps.word(k));
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
            steps,
        }
    }

    /// For f32 and bf16. `weight` is `[out_channels, in_channels, height, width]`, as long as `shape` says.
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
        let steps = steps(isa, shape);
        let word = |o: usize, k: usize| {
            let k = steps.map_or(k, |steps| steps.word(k));
            match precision {
                Precision::Bf16 => pair(factor(o, 2 * k), factor(o, 2 * k + 1)),
                _ => factor(o, k),
            }
        };
        Self {
            precision,
            packed: Packed::new((families, isa), shape.out_channels, words, bias, word),
            scales: Aligned::zeroed(0),
            residual_factor: 1.0,
            steps,
        }
    }

    /// Cuts the work on `images` images for `threads` threads; units are output pixels or segments of them. `worth(least,
    /// most)` is the number of chunks with at least `least` multiplications each and at most `most` chunks a thread.
    pub(crate) fn cut(
        &self,
        shape: &Shape,
        images: usize,
        (input, output): (&Extent, &Extent),
        threads: usize,
        worth: impl Fn(usize, usize) -> usize,
    ) -> Cut {
        let panels = self.packed.slices.len();
        let inputs = images * input.image() * self.precision.bytes();
        let weights = self.packed.weights.len() * WORD;
        if self.steps.is_some() {
            let wanted = worth(MATRIX_CHUNK_MACS, MATRIX_CHUNKS_A_THREAD);
            let spans = Spans::of(shape, input, output);
            return spans.cut(images, (inputs, weights), panels, (wanted, threads));
        }
        let wanted = worth(CHUNK_MACS, CHUNKS_A_THREAD);
        let pixels = images * output.pixels();
        if inputs < weights {
            return Cut::by_panels(pixels, panels, (wanted, threads));
        }
        let span = shape.in_channels * self.precision.bytes() * shape.stride.min(shape.kernel.1);
        let fitting = (INPUT_BYTES / span).clamp(24, 4096);
        let blocks = pixels.div_ceil(fitting);
        let groups = wanted.div_ceil(blocks).min(panels);
        let blocks = blocks.max(wanted.div_ceil(groups)).min(pixels);
        Cut {
            units: pixels,
            blocks,
            groups,
        }
    }

    /// Whether its input may have a gap between pixels.
    pub(crate) fn reads_by_tap(&self) -> bool {
        self.steps.is_some_and(|steps| steps.by_tap())
    }

    /// Computes `units` of a cut, in the output channels of group `group` of `groups`.
    ///
    /// # Safety
    /// As [`Conv2d::compute`](crate::Conv2d::compute).
    pub(crate) unsafe fn compute(
        &self,
        shape: &Shape,
        views: &Views,
        units: Range<usize>,
        (group, groups): (usize, usize),
    ) {
        let slices = part(self.packed.slices.len(), groups, group);
        let slices = &self.packed.slices[slices];
        #[cfg(target_arch = "x86_64")]
        if let Some(steps) = self.steps {
            let panels = slices
                .iter()
                .map(|slice| (slice.family, self.panel(shape, views, slice)));
            // SAFETY: as the caller promises; there are steps only if the processor has the registers.
            unsafe { amx::compute((self.precision, steps), shape, views, units, panels) };
            return;
        }
        let mut pixels = [Pixel::default(); BLOCK];
        let mut first = units.start;
        while first < units.end {
            let block = &mut pixels[..BLOCK.min(units.end - first)];
            self.place(shape, views, first, block);
            for slice in slices {
                let panel = self.panel(shape, views, slice);
                // SAFETY: the family is of an available instruction set; `place` keeps to the extents, which the
                // caller vouches for.
                unsafe { slice.family.compute(&panel, block) };
            }
            first += block.len();
        }
    }

    /// The operands of the kernels of one slice.
    fn panel(&self, shape: &Shape, views: &Views, slice: &Slice) -> Panel {
        let bytes = self.precision.bytes();
        let words = |numbers: usize| numbers * bytes / WORD;
        let residual = match views.residual {
            Some((start, _)) => start.wrapping_add(slice.first * bytes),
            None => std::ptr::null(),
        };
        Panel {
            input: views.input.0.cast(),
            weights: self.packed.weights_of(slice),
            next: self.packed.after(slice),
            runs: shape.kernel.0,
            run_length: run_length(self.precision, shape),
            run_stride: words(views.input.1.row()),
            epilogue: Epilogue {
                output: views.output.0.wrapping_add(slice.first * bytes),
                residual,
                bias: self.packed.bias.pointer().wrapping_add(slice.first),
                scale: self.scales.pointer().wrapping_add(slice.first),
                residual_factor: self.residual_factor,
                channels: slice.channels,
                relu: views.relu,
            },
        }
    }

    /// Computes the offsets at which the output pixels from `first` on read and write.
    fn place(&self, shape: &Shape, views: &Views, first: usize, pixels: &mut [Pixel]) {
        let Shape {
            stride, padding, ..
        } = *shape;
        let (input, output) = (&views.input.1, &views.output.1);
        let residual = views.residual.as_ref().map_or(output, |(_, extent)| extent);
        let inset = input.border - padding;
        let words = |numbers: usize| numbers * self.precision.bytes() / WORD;
        let (mut n, in_image) = (first / output.pixels(), first % output.pixels());
        let (mut y, mut x) = (in_image / output.width, in_image % output.width);
        let mut pixels = pixels.iter_mut();
        while pixels.len() > 0 {
            let start = n * input.stride
                + (y * stride + inset) * input.row()
                + (x * stride + inset) * input.channels;
            let mut pixel = Pixel {
                input: words(start),
                output: output.at(n, y, x),
                residual: residual.at(n, y, x),
            };
            for to in pixels.by_ref().take(output.width - x) {
                *to = pixel;
                pixel.input += words(stride * input.channels);
                pixel.output += output.channels;
                pixel.residual += output.channels;
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
