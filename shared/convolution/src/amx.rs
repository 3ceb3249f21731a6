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
use crate::convolution::{Shape, Views};
use crate::isa::Precision;
use crate::kernels::{Family, Panel, Pixel};
use crate::packing::WORD;
use crate::segments::{SIDE, Steps, Stretches};

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

/// One to two registers of pixels by one to two of output channels, over some steps: what the assembly reads.
#[repr(C)]
struct Product {
    /// The first pixel's inputs, of each register.
    pixels: [*const u8; 2],
    /// Bytes from one pixel's inputs to the next one's.
    pixel_stride: usize,
    /// For each step, where its inputs lie from the pixel's first one on, in bytes.
    offsets: *const u32,
    offsets_end: *const u32,
    /// The first step's weights; those of the next ones follow.
    weights: *const f32,
    /// Bytes of a step's weights, and of a row of them.
    weights_step: usize,
    weights_row: usize,
    /// Any address: `ASKED` lines from there on are brought near in the first step, and as many in the next ones, each
    /// time so many bytes further.
    next: *const f32,
    next_step: usize,
    /// What sums start from, the bytes from one row of it to the next, and from one register of pixels to the next.
    start: *const f32,
    start_row: usize,
    start_register: usize,
    /// Where they go: `SIDE` pixels a register, a panel wide.
    sums: *mut f32,
}

/// A product of `$multiply`, of `$pixels` registers of pixels by `$vectors` of channels. The lists are `[""]` where
/// there is a second register of pixels, of channels, and of both, and `[]` where there is not.
macro_rules! product {
    ($name:ident, $multiply:literal, [$($pixels:literal)?], [$($vectors:literal)?], [$($both:literal)?]) => {
        /// # Safety
        /// The registers are configured. Their rows can be read at each of the product's addresses, and the sums written.
        unsafe fn $name(product: &Product) {
            // SAFETY: reads and writes as the caller allows; no compiled code knows of the matrix registers.
            unsafe {
                asm!(
                    concat!(
                        // What sums start from.
                        "mov r8, [rdi + {start}]\n",
                        "mov r9, [rdi + {start_row}]\n",
                        "tileloadd tmm0, [r8 + r9*1]\n",
                        $($vectors, "tileloadd tmm1, [r8 + r9*1 + 64]\n",)?
                        "add r8, [rdi + {start_register}]\n",
                        $($pixels, "tileloadd tmm2, [r8 + r9*1]\n",)?
                        $($both, "tileloadd tmm3, [r8 + r9*1 + 64]\n",)?
                        "mov r8, [rdi + {pixels}]\n",
                        $($pixels, "mov r9, [rdi + {pixels} + 8]\n",)?
                        "mov r10, [rdi + {pixel_stride}]\n",
                        "mov r11, [rdi + {offsets}]\n",
                        "mov r12, [rdi + {offsets_end}]\n",
                        "mov r13, [rdi + {weights}]\n",
                        "mov r14, [rdi + {weights_row}]\n",
                        "mov r15, [rdi + {next}]\n",
                        "2:\n",
                        "mov eax, [r11]\n",
                        "lea rcx, [r8 + rax]\n",
                        "tileloadd tmm4, [rcx + r10*1]\n",
                        "tileloadd tmm6, [r13 + r14*1]\n",
                        $multiply, " tmm0, tmm4, tmm6\n",
                        $($vectors, "tileloadd tmm7, [r13 + r14*1 + 64]\n", $multiply, " tmm1, tmm4, tmm7\n",)?
                        $(
                            $pixels,
                            "lea rcx, [r9 + rax]\n",
                            "tileloadd tmm5, [rcx + r10*1]\n",
                            $multiply, " tmm2, tmm5, tmm6\n",
                        )?
                        $($both, $multiply, " tmm3, tmm5, tmm7\n",)?
                        "prefetcht1 [r15]\n",
                        "prefetcht1 [r15 + 64]\n",
                        "prefetcht1 [r15 + 128]\n",
                        "prefetcht1 [r15 + 192]\n",
                        "prefetcht1 [r15 + 256]\n",
                        "prefetcht1 [r15 + 320]\n",
                        "prefetcht1 [r15 + 384]\n",
                        "prefetcht1 [r15 + 448]\n",
                        "add r15, [rdi + {next_step}]\n",
                        "add r13, [rdi + {weights_step}]\n",
                        "add r11, 4\n",
                        "cmp r11, r12\n",
                        "jb 2b\n",
                        "mov r8, [rdi + {sums}]\n",
                        "tilestored [r8 + r14*1], tmm0\n",
                        $($vectors, "tilestored [r8 + r14*1 + 64], tmm1\n",)?
                        $(
                            $pixels,
                            "mov r9, r14\n",
                            "shl r9, 4\n",
                            "add r8, r9\n",
                            "tilestored [r8 + r14*1], tmm2\n",
                        )?
                        $($both, "tilestored [r8 + r14*1 + 64], tmm3\n",)?
                    ),
                    in("rdi") product,
                    pixels = const std::mem::offset_of!(Product, pixels),
                    pixel_stride = const std::mem::offset_of!(Product, pixel_stride),
                    offsets = const std::mem::offset_of!(Product, offsets),
                    offsets_end = const std::mem::offset_of!(Product, offsets_end),
                    weights = const std::mem::offset_of!(Product, weights),
                    weights_step = const std::mem::offset_of!(Product, weights_step),
                    weights_row = const std::mem::offset_of!(Product, weights_row),
                    next = const std::mem::offset_of!(Product, next),
                    next_step = const std::mem::offset_of!(Product, next_step),
                    start = const std::mem::offset_of!(Product, start),
                    start_row = const std::mem::offset_of!(Product, start_row),
                    start_register = const std::mem::offset_of!(Product, start_register),
                    sums = const std::mem::offset_of!(Product, sums),
                    out("rax") _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                    out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                    options(nostack),
                );
            }
        }
    };
}

/// Registers of pixels, then registers of channels, each less one.
type Products = [[unsafe fn(&Product); 2]; 2];

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
    /// Where the pixels of all segments go. Their `input` is a row of the segment's sums.
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
        let row = views.input.1.row() * precision.bytes();
        scratch.offsets.clear();
        scratch.offsets.extend(steps.offsets(shape.kernel.0, row));
        // SAFETY: the registers are available; rows and words are at most `SIDE`.
        let registers = unsafe { Registers::configure(stretches.rows, steps.words) };
        for (family, panel) in panels {
            // SAFETY: as the caller promises; the places were looked up for these views.
            unsafe { scratch.compute_panel(family, &panel, (precision, steps.words)) };
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
            let first = segment.first + segment.skipped;
            let (mut y, mut x) = (segment.y + first / stretches.pitch, first % stretches.pitch);
            let mut pixel = Pixel {
                input: segment.skipped,
                output: output.at(n, y, x),
                residual: residual.at(n, y, x),
            };
            while pixel.input < stretches.rows {
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

    /// Computes all segments in one panel.
    ///
    /// # Safety
    /// As [`compute`].
    unsafe fn compute_panel(
        &mut self,
        family: &Family,
        panel: &Panel,
        (precision, words): (Precision, usize),
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
                0 => (words * width / SIDE).div_ceil(pairs).min(ASKED) * SIDE * WORD,
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
                    // SAFETY: the scratch has room for a block's sums; all else is the panel's own.
                    unsafe {
                        let sums = self.sums.pointer().add(pair * 2 * SIDE * width);
                        let (start, start_row) = match chunk {
                            0 => (start, 0),
                            _ => (sums.cast_const(), width * WORD),
                        };
                        let product = Product {
                            pixels: [segments[0].start, segments[segments.len() - 1].start],
                            pixel_stride: self.pixel_stride,
                            offsets: offsets.as_ptr(),
                            offsets_end: offsets.as_ptr_range().end,
                            weights: panel.weights.add(chunk * words * width),
                            weights_step: words * width * WORD,
                            weights_row: width * WORD,
                            next: next.wrapping_add(pair * offsets.len() * asked / WORD),
                            next_step: asked,
                            start,
                            start_row,
                            start_register: SIDE * start_row,
                            sums,
                        };
                        products[segments.len() - 1][width / SIDE - 1](&product);
                        if last {
                            for (number, segment) in segments.iter().enumerate() {
                                let sums = sums.add(number * SIDE * width);
                                let (pixels, ahead) = self.pixels[segment.pixels.start..]
                                    .split_at(segment.pixels.len());
                                (family.finish)(&panel.epilogue, sums, pixels, ahead);
                            }
                        }
                    }
                }
            }
        }
    }
}
