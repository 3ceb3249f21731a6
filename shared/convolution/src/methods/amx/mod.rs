//! The direct method on the matrix registers of Intel AMX: an instruction multiplies sixteen pixels by sixteen output
//! channels.
//!
//! A register holds sixteen rows of sixteen words. In a register of inputs, a row is a pixel and its words are a step of
//! the inner product. In a register of weights, a row is a word of that step and its words are output channels, in the
//! layout of the vector kernels' panels. In a register of sums, a row is a pixel and a word an output channel. Two
//! registers of inputs and two of weights give four registers of sums.
//!
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

mod product;

use super::segments::{Spans, Steps};
use crate::{
    aligned::Aligned,
    extent::Views,
    kernels::{Family, MATRIX_WIDTH as WIDTH, Panel, Pixel, Registers, SIDE, WORD},
    precision::Precision,
    shape::Shape,
};
use product::{BF16, INT8, Product, Unfinished};
use std::{cell::RefCell, ops::Range};

/// Steps of the inner product whose weights stay in the first-level cache, beside the inputs that pass through it.
const STEPS: usize = 16;
/// Registers of pixels that are multiplied by those weights.
const BLOCK: usize = 16;
/// The most lines of the next panel's weights that a step prefetches.
const ASKED: usize = 8;

/// A thread's working memory.
struct Scratch {
    /// For each step of the inner product, the offset of its inputs from the pixel's first input, in bytes.
    offsets: Vec<u32>,
    segments: Vec<Inputs>,
    /// The output offsets of the pixels of all segments. Their `input` is a row of the sums of a pair of segments.
    pixels: Vec<Pixel>,
    /// Bytes from one pixel's inputs to the next one's.
    pixel_stride: usize,
    /// The sums of a block.
    sums: Aligned,
}

/// The initial value of integer sums.
static ZEROS: [f32; WIDTH] = [0.0; WIDTH];

/// The start of a segment's inputs, and the range of its pixels.
struct Inputs {
    start: *const u8,
    pixels: Range<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        offsets: Vec::new(),
        segments: Vec::new(),
        pixels: Vec::new(),
        pixel_stride: 0,
        sums: Aligned::zeroed(BLOCK * SIDE * WIDTH),
    });
}

/// Computes `segments` in all panels; their weights are packed in the order of `steps`.
///
/// # Safety
/// As [`Conv2d::compute`](crate::Conv2d::compute), and the registers are [available](crate::Isa::available); panels are as `Kernel` says.
pub(crate) unsafe fn compute(
    (precision, steps): (Precision, Steps),
    shape: &Shape,
    views: &Views,
    segments: Range<usize>,
    panels: impl Iterator<Item = (&'static Family, Panel)>,
) {
    let spans = Spans::of(shape, &views.input.1, &views.output.1);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.place(&spans, precision, shape, views, segments);
        let input = &views.input.1;
        let apart = (
            input.row() * precision.bytes(),
            input.channels * precision.bytes(),
        );
        scratch.offsets.clear();
        scratch.offsets.extend(steps.offsets(shape.kernel.0, apart));
        // SAFETY: the registers are available; rows and words are at most `SIDE`.
        let registers = unsafe { Registers::configure(spans.rows, steps.words) };
        let mut unfinished = None;
        let scratch = &*scratch;
        for (family, panel) in panels {
            // SAFETY: as the caller promises; the offsets were computed for these views.
            unsafe {
                scratch.compute_panel(family, &panel, (precision, steps.words), &mut unfinished)
            };
        }
        if let Some(mut last) = unfinished {
            // SAFETY: as the caller promises.
            unsafe { last.finish(last.left) };
        }
        drop(registers);
    });
}

impl Scratch {
    /// Computes the offsets at which the segments read and write.
    fn place(
        &mut self,
        spans: &Spans,
        precision: Precision,
        shape: &Shape,
        views: &Views,
        segments: Range<usize>,
    ) {
        let (input, output) = (&views.input.1, &views.output.1);
        let residual = views.residual.as_ref().map_or(output, |(_, extent)| extent);
        let inset = input.border - shape.padding;
        self.segments.clear();
        self.pixels.clear();
        for number in segments {
            let segment = spans.segment(number);
            let n = segment.image;
            let start = n * input.stride
                + (segment.y * shape.stride + inset) * input.row()
                + (segment.first * shape.stride + inset) * input.channels;
            let before = self.pixels.len();
            let in_pair = self.segments.len() % 2 * SIDE;
            let first = segment.first + segment.skipped;
            let (mut y, mut x) = (segment.y + first / spans.pitch, first % spans.pitch);
            let mut pixel = Pixel {
                input: in_pair + segment.skipped,
                output: output.at(n, y, x),
                residual: residual.at(n, y, x),
            };
            while pixel.input < in_pair + spans.rows {
                if x < output.width {
                    self.pixels.push(pixel);
                }
                pixel.input += 1;
                pixel.output += output.channels;
                pixel.residual += residual.channels;
                x += 1;
                if x == spans.pitch {
                    (y, x) = (y + 1, 0);
                    pixel.output = output.at(n, y, x);
                    pixel.residual = residual.at(n, y, x);
                }
            }
            self.segments.push(Inputs {
                start: views.input.0.wrapping_add(start * precision.bytes()),
                pixels: before..self.pixels.len(),
            });
        }
        self.pixel_stride = shape.stride * input.channels * precision.bytes();
    }

    /// Computes all segments in one panel. Finishes the `unfinished` sums of before and leaves its last ones there.
    ///
    /// # Safety
    /// As [`compute`].
    unsafe fn compute_panel<'a>(
        &'a self,
        family: &Family,
        panel: &Panel,
        (precision, words): (Precision, usize),
        unfinished: &mut Option<Unfinished<'a>>,
    ) {
        let (products, start) = match precision {
            Precision::Int8 => (&INT8, ZEROS.as_ptr()),
            _ => (&BF16, panel.epilogue.bias),
        };
        let (width, steps) = (family.width, self.offsets.len());
        for (number, block) in self.segments.chunks(BLOCK).enumerate() {
            let pairs = block.len().div_ceil(2);
            // Only the first block prefetches: the later ones find the weights in the cache.
            let asked = match number {
                0 => (words * width / SIDE).div_ceil(pairs).min(ASKED),
                _ => 0,
            };
            for chunk in (0..steps).step_by(STEPS) {
                let offsets = &self.offsets[chunk..steps.min(chunk + STEPS)];
                let last = chunk + STEPS >= steps;
                let next = if last {
                    panel.next
                } else {
                    panel.weights.wrapping_add((chunk + STEPS) * words * width)
                };
                for (pair, segments) in block.chunks(2).enumerate() {
                    let (one, other) = (&segments[0], &segments[segments.len() - 1]);
                    // SAFETY: the scratch holds a block's sums; all else belongs to the panel.
                    unsafe {
                        let sums = self.sums.pointer().add(pair * 2 * SIDE * width);
                        let (start, start_row) = match chunk {
                            0 => (start, 0),
                            _ => (sums.cast_const(), width * WORD),
                        };
                        let product = Product {
                            pixels: [one.start, other.start],
                            pixel_stride: self.pixel_stride,
                            offsets,
                            weights: panel.weights.add(chunk * words * width),
                            weights_step: words * width,
                            row: width * WORD,
                            next: next.wrapping_add(pair * offsets.len() * asked * SIDE),
                            asked,
                            start,
                            start_row,
                            sums,
                        };
                        products[segments.len() - 1][width / SIDE - 1](&product, unfinished);
                        if last {
                            *unfinished = Some(Unfinished {
                                finish: family.finish,
                                epilogue: panel.epilogue,
                                sums,
                                pixels: &self.pixels[one.pixels.start..],
                                left: other.pixels.end - one.pixels.start,
                            });
                        }
                    }
                }
            }
        }
    }
}
