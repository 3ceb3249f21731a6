//! Products of a few matrix registers, and the sums that are finished meanwhile.

use std::arch::asm;

use crate::kernels::{Avx512, Epilogue, Finish, Lanes, Pixel, SIDE};

/// One to two registers of pixels by one to two of output channels, over some steps.
pub(super) struct Product<'a> {
    /// The first pixel's inputs, of each register.
    pub(super) pixels: [*const u8; 2],
    /// Bytes from one pixel's inputs to the next one's.
    pub(super) pixel_stride: usize,
    /// For each step, where its inputs lie from the pixel's first one on, in bytes.
    pub(super) offsets: &'a [u32],
    /// The first step's weights; those of the next ones follow.
    pub(super) weights: *const f32,
    /// Words of a step's weights.
    pub(super) weights_step: usize,
    /// Bytes of a row of weights, and of sums.
    pub(super) row: usize,
    /// Any address: so many lines from there on are brought near in the first step, and as many more in each next one.
    pub(super) next: *const f32,
    pub(super) asked: usize,
    /// What sums start from, and the bytes from one row of it to the next.
    pub(super) start: *const f32,
    pub(super) start_row: usize,
    /// Where they go: `SIDE` pixels a register, a panel wide.
    pub(super) sums: *mut f32,
}

/// Sums that are complete. What becomes of them is worked out between the steps of the next product, because the matrix
/// unit and the vector units run side by side within what a core looks ahead.
pub(super) struct Unfinished<'a> {
    pub(super) finish: Finish,
    pub(super) epilogue: Epilogue,
    pub(super) sums: *const f32,
    /// Those left, and the ones that come after.
    pub(super) pixels: &'a [Pixel],
    pub(super) left: usize,
}

impl Unfinished<'_> {
    /// Finishes the next `count` pixels, or those left.
    ///
    /// # Safety
    /// As [`Finish`].
    #[inline(always)]
    pub(super) unsafe fn finish(&mut self, count: usize) {
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
pub(super) type Products = [[unsafe fn(&Product, &mut Option<Unfinished>); 2]; 2];

product!(bf16_1x1, "tdpbf16ps", [], [], []);
product!(bf16_1x2, "tdpbf16ps", [], [""], []);
product!(bf16_2x1, "tdpbf16ps", [""], [], []);
product!(bf16_2x2, "tdpbf16ps", [""], [""], [""]);
pub(super) static BF16: Products = [[bf16_1x1, bf16_1x2], [bf16_2x1, bf16_2x2]];

product!(int8_1x1, "tdpbusd", [], [], []);
product!(int8_1x2, "tdpbusd", [], [""], []);
product!(int8_2x1, "tdpbusd", [""], [], []);
product!(int8_2x2, "tdpbusd", [""], [""], [""]);
pub(super) static INT8: Products = [[int8_1x1, int8_1x2], [int8_2x1, int8_2x2]];
