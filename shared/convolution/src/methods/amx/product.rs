//! Products of up to two registers of pixels by two of channels. Between their steps, the sums of the product before are
//! finished on the vector units.

use crate::kernels::{Avx512, Epilogue, Finish, Lanes, Pixel, SIDE};
use std::arch::asm;

/// The operands of a product: one or two registers of pixels by one or two of output channels, over some steps.
pub(super) struct Product<'a> {
    /// The inputs of the first pixel of each register.
    pub(super) pixels: [*const u8; 2],
    /// Bytes from one pixel's inputs to the next one's.
    pub(super) pixel_stride: usize,
    /// For each step, the offset of its inputs from the pixel's first input, in bytes.
    pub(super) offsets: &'a [u32],
    /// The weights of the first step; those of the others follow.
    pub(super) weights: *const f32,
    /// Words of a step's weights.
    pub(super) weights_step: usize,
    /// Bytes of a row of weights, and of sums.
    pub(super) row: usize,
    /// Where prefetching starts; any address is allowed. Each step prefetches the next `asked` lines.
    pub(super) next: *const f32,
    pub(super) asked: usize,
    /// The initial value of the sums, and the bytes from one of its rows to the next.
    pub(super) start: *const f32,
    pub(super) start_row: usize,
    /// The sums: `SIDE` rows a register, as wide as the panel.
    pub(super) sums: *mut f32,
}

/// Complete sums that lack their epilogue. It runs between the steps of the next product, so that the matrix unit and
/// the vector units work in parallel within the core's reorder window.
pub(super) struct Unfinished<'a> {
    pub(super) finish: Finish,
    pub(super) epilogue: Epilogue,
    pub(super) sums: *const f32,
    /// The pixels that are left, followed by later ones.
    pub(super) pixels: &'a [Pixel],
    pub(super) left: usize,
}

impl Unfinished<'_> {
    /// Finishes the next `count` pixels, or all that are left.
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
            // All must be finished before the product stores its sums, perhaps over theirs. A share of fewer than
            // `SIDE` would not be worth a call.
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
