//! Products on the matrix registers of Intel AMX: sixteen pixels by sixteen output channels an instruction.
//!
//! A register holds sixteen rows of sixteen words. One of inputs has a pixel a row, and its words are a step of the
//! inner product; one of weights has a word of that step a row, and its sixteen words are output channels, just as the
//! vector kernels' panels have them; one of sums has a pixel a row and an output channel a word. Four registers of sums
//! grow at a time, from two of inputs and two of weights.
//!
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

mod product;

use std::cell::RefCell;
use std::ops::Range;

use super::segments::{Steps, Stretches};
use crate::aligned::Aligned;
use crate::extent::Views;
use crate::kernels::{Family, MATRIX_WIDTH as WIDTH, Panel, Pixel, Registers, SIDE, WORD};
use crate::precision::Precision;
use crate::shape::Shape;
use product::{BF16, INT8, Product, Unfinished};

/// Steps of the inner product whose weights stay in the first-level cache, beside the inputs that pass through it.
const STEPS: usize = 16;
/// Registers of pixels that those weights serve.
const BLOCK: usize = 16;
/// Lines of the next panel's weights that are asked for in each step.
const ASKED: usize = 8;

/// What a thread needs beside its registers.
struct Scratch {
    /// For each step of the inner product, where its inputs lie from a pixel's first one on, in bytes.
    offsets: Vec<u32>,
    segments: Vec<Inputs>,
    /// Where the pixels of all segments go. Their `input` is a row of the sums of a pair of segments.
    pixels: Vec<Pixel>,
    /// Bytes from one pixel's inputs to the next one's.
    pixel_stride: usize,
    /// Those of a block.
    sums: Aligned,
}

/// What sums of integers start from.
static ZEROS: [f32; WIDTH] = [0.0; WIDTH];

/// Where a segment's inputs lie, and which of the pixels are its own.
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

/// Computes `segments` in all panels, whose weights lie in the order of `steps`.
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
    let stretches = Stretches::of(shape, &views.input.1, &views.output.1);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.place(&stretches, precision, shape, views, segments);
        let input = &views.input.1;
        let apart = (
            input.row() * precision.bytes(),
            input.channels * precision.bytes(),
        );
        scratch.offsets.clear();
        scratch.offsets.extend(steps.offsets(shape.kernel.0, apart));
        // SAFETY: the registers are available; rows and words are at most `SIDE`.
        let registers = unsafe { Registers::configure(stretches.rows, steps.words) };
        let mut unfinished = None;
        let scratch = &*scratch;
        for (family, panel) in panels {
            // SAFETY: as the caller promises; the places were looked up for these views.
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
    /// Looks up where the segments read and write.
    fn place(
        &mut self,
        stretches: &Stretches,
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
            let segment = stretches.segment(number);
            let n = segment.image;
            let start = n * input.stride
                + (segment.y * shape.stride + inset) * input.row()
                + (segment.first * shape.stride + inset) * input.channels;
            let before = self.pixels.len();
            let in_pair = self.segments.len() % 2 * SIDE;
            let first = segment.first + segment.skipped;
            let (mut y, mut x) = (segment.y + first / stretches.pitch, first % stretches.pitch);
            let mut pixel = Pixel {
                input: in_pair + segment.skipped,
                output: output.at(n, y, x),
                residual: residual.at(n, y, x),
            };
            while pixel.input < in_pair + stretches.rows {
                if x < output.width {
                    self.pixels.push(pixel);
                }
                pixel.input += 1;
                pixel.output += output.channels;
                pixel.residual += residual.channels;
                x += 1;
                if x == stretches.pitch {
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

    /// Computes all segments in one panel, and takes over what was `unfinished` before with what is now.
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
            // Weights come from afar for the first block only.
            let asked = match number {
                0 => (words * width / SIDE).div_ceil(pairs).min(ASKED),
                _ => 0,
            };
            for chunk in (0..steps).step_by(STEPS) {
                let offsets = &self.offsets[chunk..steps.min(chunk + STEPS)];
                let last = chunk + STEPS >= steps;
                let next = match last {
                    true => panel.next,
                    false => panel.weights.wrapping_add((chunk + STEPS) * words * width),
                };
                for (pair, segments) in block.chunks(2).enumerate() {
                    let (one, other) = (&segments[0], &segments[segments.len() - 1]);
                    // SAFETY: the scratch has room for a block's sums; all else is the panel's own.
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
