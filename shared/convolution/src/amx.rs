//! Products on the matrix registers of Intel AMX: sixteen pixels by sixteen output channels an instruction.
//!
//! A register holds sixteen rows of sixteen words. One of inputs has a pixel a row, and its words are a step of the
//! inner product; one of weights has a word of that step a row, and its sixteen words are output channels, just as the
//! vector kernels' panels have them; one of sums has a pixel a row and an output channel a word. Four registers of sums
//! grow at a time, from two of inputs and two of weights.
//!
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use std::arch::asm;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;

use crate::aligned::Aligned;
use crate::extent::Views;
use crate::kernels::{Epilogue, Family, Finish, Panel, Pixel};
use crate::lanes::{Avx512, Lanes};
use crate::packing::WORD;
use crate::precision::Precision;
use crate::segments::{SIDE, Steps, Stretches};
use crate::shape::Shape;

/// Output channels that are computed at a time: two registers.
pub(crate) const WIDTH: usize = 2 * SIDE;
/// Steps of the inner product whose weights stay in the first-level cache, beside the inputs that pass through it.
const STEPS: usize = 16;
/// Registers of pixels that those weights serve.
const BLOCK: usize = 16;
/// Lines of the next panel's weights that are asked for in each step.
const ASKED: usize = 8;

/// Whether the processor has the instructions, and the system lets this process use the registers.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && permitted())
}

/// AMX-TILE, AMX-BF16 and AMX-INT8 in leaf 7, and the registers' state among those that the system saves.
fn has_instructions() -> bool {
    const INSTRUCTIONS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    std::arch::x86_64::__cpuid_count(7, 0).edx & INSTRUCTIONS == INSTRUCTIONS
}

/// Asks Linux for the registers, as <https://docs.kernel.org/arch/x86/xstate.html> says.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XTILE_DATA: libc::c_ulong = 18;
    // SAFETY: a request with plain numbers, which changes nothing but what the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// One to two registers of pixels by one to two of output channels, over some steps.
struct Product<'a> {
    /// The first pixel's inputs, of each register.
    pixels: [*const u8; 2],
    /// Bytes from one pixel's inputs to the next one's.
    pixel_stride: usize,
    /// For each step, where its inputs lie from the pixel's first one on, in bytes.
    offsets: &'a [u32],
    /// The first step's weights; those of the next ones follow.
    weights: *const f32,
    /// Words of a step's weights.
    weights_step: usize,
    /// Bytes of a row of weights, and of sums.
    row: usize,
    /// Any address: so many lines from there on are brought near in the first step, and as many more in each next one.
    next: *const f32,
    asked: usize,
    /// What sums start from, and the bytes from one row of it to the next.
    start: *const f32,
    start_row: usize,
    /// Where they go: `SIDE` pixels a register, a panel wide.
    sums: *mut f32,
}

/// Sums that are complete. What becomes of them is worked out between the steps of the next product, because the matrix
/// unit and the vector units run side by side within what a core looks ahead.
struct Unfinished<'a> {
    finish: Finish,
    epilogue: Epilogue,
    sums: *const f32,
    /// Those left, and the ones that come after.
    pixels: &'a [Pixel],
    left: usize,
}

impl Unfinished<'_> {
    /// Finishes the next `count` pixels, or those left.
    ///
    /// # Safety
    /// As [`Finish`].
    #[inline(always)]
    unsafe fn finish(&mut self, count: usize) {
        let count = count.min(self.left);
        if count > 0 {
            // SAFETY: as the caller promises.
            unsafe { (self.finish)(&self.epilogue, self.sums, self.pixels, count) };
            self.pixels = &self.pixels[count..];
            self.left -= count;
        }
    }
}

/// A product of `$multiply`, of `$pixels` registers of pixels by `$vectors` of channels. The lists are `[""]` where
/// there is a second register of pixels, of channels, and of both, and `[]` where there is not.
macro_rules! product {
    ($name:ident, $multiply:literal, [$($pixels:literal)?], [$($vectors:literal)?], [$($both:literal)?]) => {
        /// # Safety
        /// The registers are configured. Their rows can be read at each of the product's addresses, and the sums written.
        /// What is unfinished is as [`Finish`] says.
        unsafe fn $name(product: &Product, unfinished: &mut Option<Unfinished>) {
            let row = product.row;
            let steps = product.offsets.len();
            // All of them before the sums are written, whose room may be theirs; no fewer at a time than pay for a call.
            let share = unfinished.as_ref().map_or(0, |sums| sums.left.div_ceil(steps).max(SIDE));
            let mut weights = product.weights;
            let mut next = product.next;
            // SAFETY: reads and writes as the caller allows; no compiled code knows of the matrix registers.
            unsafe {
                asm!(
                    concat!(
                        "tileloadd tmm0, [{start} + {row}*1]\n",
                        $($vectors, "tileloadd tmm1, [{start} + {row}*1 + 64]\n",)?
                        $($pixels, "tileloadd tmm2, [rdx + {row}*1]\n",)?
                        $($both, "tileloadd tmm3, [rdx + {row}*1 + 64]\n",)?
                    ),
                    start = in(reg) product.start,
                    row = in(reg) product.start_row,
                    in("rdx") product.start.byte_add(SIDE * product.start_row),
                    options(nostack, readonly),
                );
                for offset in product.offsets {
                    let offset = *offset as usize;
                    asm!(
                        concat!(
                            "tileloadd tmm4, [{first} + {stride}*1]\n",
                            "tileloadd tmm6, [{weights} + {row}*1]\n",
                            $multiply, " tmm0, tmm4, tmm6\n",
                            $($vectors, "tileloadd tmm7, [{weights} + {row}*1 + 64]\n", $multiply, " tmm1, tmm4, tmm7\n",)?
                            $($pixels, "tileloadd tmm5, [rdx + {stride}*1]\n", $multiply, " tmm2, tmm5, tmm6\n",)?
                            $($both, $multiply, " tmm3, tmm5, tmm7\n",)?
                        ),
                        first = in(reg) product.pixels[0].add(offset),
                        stride = in(reg) product.pixel_stride,
                        weights = in(reg) weights,
                        row = in(reg) row,
                        in("rdx") product.pixels[1].add(offset),
                        options(nostack, readonly),
                    );
                    weights = weights.wrapping_add(product.weights_step);
                    for _ in 0..product.asked {
                        Avx512::prefetch_far(next);
                        next = next.wrapping_add(SIDE);
                    }
                    if let Some(sums) = unfinished {
                        sums.finish(share);
                    }
                }
                asm!(
                    concat!(
                        "tilestored [{first} + {row}*1], tmm0\n",
                        $($vectors, "tilestored [{first} + {row}*1 + 64], tmm1\n",)?
                        $($pixels, "tilestored [rdx + {row}*1], tmm2\n",)?
                        $($both, "tilestored [rdx + {row}*1 + 64], tmm3\n",)?
                    ),
                    first = in(reg) product.sums,
                    row = in(reg) row,
                    in("rdx") product.sums.byte_add(SIDE * row),
                    options(nostack),
                );
            }
        }
    };
}

/// Registers of pixels, then registers of channels, each less one.
type Products = [[unsafe fn(&Product, &mut Option<Unfinished>); 2]; 2];

product!(bf16_1x1, "tdpbf16ps", [], [], []);
product!(bf16_1x2, "tdpbf16ps", [], [""], []);
product!(bf16_2x1, "tdpbf16ps", [""], [], []);
product!(bf16_2x2, "tdpbf16ps", [""], [""], [""]);
static BF16: Products = [[bf16_1x1, bf16_1x2], [bf16_2x1, bf16_2x2]];

product!(int8_1x1, "tdpbusd", [], [], []);
product!(int8_1x2, "tdpbusd", [], [""], []);
product!(int8_2x1, "tdpbusd", [""], [], []);
product!(int8_2x2, "tdpbusd", [""], [""], [""]);
static INT8: Products = [[int8_1x1, int8_1x2], [int8_2x1, int8_2x2]];

/// That many multiplications of registers, or as many as are whole fours.
///
/// # Safety
/// The registers are [available].
pub(crate) unsafe fn multiply(precision: Precision, times: usize) {
    const SUMS: usize = 4;
    macro_rules! each_sum {
        ($multiply:literal) => {
            asm!(
                concat!($multiply, " tmm0, tmm4, tmm6"),
                concat!($multiply, " tmm1, tmm4, tmm7"),
                concat!($multiply, " tmm2, tmm5, tmm6"),
                concat!($multiply, " tmm3, tmm5, tmm7"),
                options(nostack, nomem),
            )
        };
    }
    // SAFETY: as the caller promises; what the registers hold does not matter.
    unsafe {
        let registers = Registers::configure(SIDE, SIDE);
        for _ in 0..times / SUMS {
            match precision {
                Precision::Int8 => each_sum!("tdpbusd"),
                _ => each_sum!("tdpbf16ps"),
            }
        }
        drop(registers);
    }
}

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The thread's matrix registers, as the products use them, until it is dropped.
struct Registers;

impl Registers {
    /// For `pixels` a register, and steps of `words`.
    ///
    /// # Safety
    /// The registers are [available].
    unsafe fn configure(pixels: usize, words: usize) -> Self {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let sizes = [
            (0..4, pixels, SIDE),
            (4..6, pixels, words),
            (6..8, words, SIDE),
        ];
        for (registers, rows, words) in sizes {
            for register in registers {
                configuration.rows[register] = rows as u8;
                configuration.row_bytes[register] = (words * WORD) as u16;
            }
        }
        // SAFETY: the registers are available; no size exceeds theirs.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Self
    }
}

impl Drop for Registers {
    /// Without a state to save, switching to another thread costs nothing more.
    fn drop(&mut self) {
        // SAFETY: the registers are available, or there would be none to drop.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

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
/// As [`Conv2d::compute`](crate::Conv2d::compute), and the registers are [available]; panels are as [`Kernel`] says.
///
/// [`Kernel`]: crate::kernels::Kernel
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
