//! The register-blocked inner product: a few pixels times a few vectors of output channels.
//!
//! A tile of `P` pixels and `V` vectors keeps its `P * V` sums in registers over the whole inner
//! product. Each step loads `V` vectors of packed weights and, for each pixel, broadcasts one input.
//! Because activations are channels-last with a border, the inputs of one pixel are `runs` runs of `run_length`
//! adjacent words, one for each kernel row; a 1×1 convolution has one run.

use super::{
    isa::Isa,
    lanes::{Lanes, Plain},
    panel::{Epilogue, Family, LINE, Panel, Pixel, STEPS, WIDEST},
};
#[cfg(target_arch = "x86_64")]
use super::{
    matrix::WIDTH,
    x86::{Avx2, Avx512, Avx512Bf16, Avx512Bf16Sums, Avx512Vnni},
};
use crate::element::Element;

/// How many pixels ahead outputs are prefetched.
const AHEAD: usize = 32;

/// Inner products from this length on prefetch their outputs; shorter ones end before the line arrives.
const LONG: usize = 64;

/// The panel widths of an instruction set, widest first.
pub(crate) fn families(isa: Isa) -> &'static [Family] {
    match isa {
        Isa::Portable => PORTABLE,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => AVX2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => BF16,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => VNNI,
        #[cfg(target_arch = "x86_64")]
        Isa::AmxBf16 => narrow(BF16),
        #[cfg(target_arch = "x86_64")]
        Isa::AmxInt8 => narrow(VNNI),
        #[cfg(not(target_arch = "x86_64"))]
        _ => PORTABLE,
    }
}

/// The families of at most two vectors, whose products matrix registers can compute.
#[cfg(target_arch = "x86_64")]
fn narrow(families: &'static [Family]) -> &'static [Family] {
    let wide = families.iter().take_while(|family| family.width > WIDTH);
    &families[wide.count()..]
}

/// As [`families`], of kernels that store results in `f32`.
pub(crate) fn families_of_sums(isa: Isa) -> &'static [Family] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => BF16_SUMS,
        other => families(other),
    }
}

/// An unrolled loop: the compiler would unroll it too late to keep the sums in registers.
macro_rules! each_below {
    ($end:ident, $index:ident in [$($value:literal)*] $body:block) => {
        $(if $value < $end {
            let $index = $value;
            $body
        })*
    };
}

/// The body of every kernel.
///
/// # Safety
/// As [`Kernel`](super::panel::Kernel).
#[inline(always)]
#[allow(clippy::needless_range_loop)] // plain indices are what the compiler turns into registers
unsafe fn tile<L: Lanes, const P: usize, const V: usize>(panel: &Panel, pixels: *const Pixel) {
    // SAFETY: everything below stays within what `Kernel` promises: `P` pixels, `V` vectors a row of
    // weights, `runs` runs a pixel.
    unsafe {
        let pixels = pixels.cast::<[Pixel; P]>().read();
        let epilogue = &panel.epilogue;
        if panel.runs * panel.run_length >= LONG {
            for pixel in &pixels {
                let bytes = size_of::<L::Stored>();
                for line in (0..V * L::COUNT * bytes).step_by(64) {
                    let output = epilogue.output.wrapping_add(pixel.output * bytes + line);
                    L::prefetch(output.cast());
                }
            }
        }
        let mut sums = [[L::start(epilogue.bias); V]; P];
        for v in 1..V {
            let start = L::start(epilogue.bias.add(v * L::COUNT));
            for sum in &mut sums {
                sum[v] = start;
            }
        }
        let mut weights = panel.weights;
        let mut next = panel.next;
        for run in 0..panel.runs {
            let inputs: [*const f32; P] =
                std::array::from_fn(|p| panel.input.add(pixels[p].input + run * panel.run_stride));
            // Not a function: that would not be compiled for the instruction set and inlined.
            macro_rules! step {
                ($k:expr) => {
                    let mut row = [L::zero(); V];
                    for v in 0..V {
                        row[v] = L::load(weights.add(v * L::COUNT));
                    }
                    each_below!(P, p in [0 1 2 3 4 5 6 7 8 9 10 11] {
                        let input = L::splat(inputs[p].add($k));
                        for v in 0..V {
                            sums[p][v] = L::multiply_add(sums[p][v], input, row[v]);
                        }
                    });
                    weights = weights.add(V * L::COUNT);
                };
            }
            let whole = panel.run_length - panel.run_length % STEPS;
            for k in (0..whole).step_by(STEPS) {
                L::prefetch_far(next);
                next = next.wrapping_add(LINE);
                step!(k);
                step!(k + 1);
            }
            if whole < panel.run_length {
                step!(whole);
            }
        }
        each_below!(P, p in [0 1 2 3 4 5 6 7 8 9 10 11] {
            finish::<L, V>(epilogue, &pixels[p], sums[p]);
        });
    }
}

/// Residual, ReLU and the store of one pixel's sums.
///
/// # Safety
/// As [`Kernel`](super::panel::Kernel), for this pixel.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
unsafe fn finish<L: Lanes, const V: usize>(epilogue: &Epilogue, pixel: &Pixel, sums: [L::Sum; V]) {
    // SAFETY: a full panel reads and writes `V * COUNT == channels` floats at the pixel; a narrower one
    // goes through a buffer of `WIDEST >= V * COUNT` floats and touches `channels` of them.
    unsafe {
        let output = epilogue.output.cast::<L::Stored>().add(pixel.output);
        let residual = epilogue.residual.cast::<L::Stored>();
        let has_residual = !epilogue.residual.is_null();
        let mut values = [L::zero(); V];
        for v in 0..V {
            let at = v * L::COUNT;
            values[v] = L::complete(
                sums[v],
                epilogue.scale.wrapping_add(at),
                epilogue.bias.add(at),
            );
        }
        if epilogue.channels == V * L::COUNT {
            for v in 0..V {
                if has_residual {
                    let from = residual.add(pixel.residual + v * L::COUNT);
                    values[v] = L::add_scaled(values[v], L::read(from), epilogue.residual_factor);
                }
                if epilogue.relu {
                    values[v] = L::relu(values[v]);
                }
            }
            L::write_all(values, output);
            return;
        }
        let mut wide = [0.0f32; WIDEST];
        for v in 0..V {
            L::store(values[v], wide.as_mut_ptr().add(v * L::COUNT));
        }
        for (c, value) in wide.iter().take(epilogue.channels).enumerate() {
            let mut value = *value;
            if has_residual {
                value += (*residual.add(pixel.residual + c)).value() * epilogue.residual_factor;
            }
            let value = if epilogue.relu { value.max(0.0) } else { value };
            *output.add(c) = L::Stored::of(value);
        }
    }
}

/// The body of every [`Finish`](super::panel::Finish).
///
/// # Safety
/// As [`Finish`](super::panel::Finish).
#[inline(always)]
unsafe fn finish_all<L: Lanes, const V: usize>(
    epilogue: &Epilogue,
    sums: *const f32,
    pixels: &[Pixel],
    count: usize,
) {
    let ahead = &pixels[AHEAD.min(pixels.len())..];
    for (number, pixel) in pixels[..count].iter().enumerate() {
        if let Some(next) = ahead.get(number) {
            let bytes = size_of::<L::Stored>();
            L::prefetch_far(epilogue.output.wrapping_add(next.output * bytes).cast());
        }
        // SAFETY: as the caller promises.
        unsafe {
            let sums = sums.add(pixel.input * V * L::COUNT);
            let sums = std::array::from_fn(|v| L::sums(sums.add(v * L::COUNT)));
            finish::<L, V>(epilogue, pixel, sums);
        }
    }
}

/// Instantiates `tile` for a vector type and each tile size, with the features its instructions need.
macro_rules! kernels {
    ($table:ident, $module:ident, $lanes:path, [$($feature:literal)?], $($vectors:literal => [$($pixels:literal)*]),*) => {
        mod $module {
            use super::{Epilogue, Lanes, Panel, Pixel, finish_all, tile};
            use $lanes as Vector;

            /// # Safety
            /// As [`Kernel`](super::super::panel::Kernel).
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn run<const P: usize, const V: usize>(panel: &Panel, pixels: *const Pixel) {
                // SAFETY: the caller keeps `Kernel`'s promises, and this function has the features.
                unsafe { tile::<Vector, P, V>(panel, pixels) }
            }

            /// # Safety
            /// As [`Finish`](super::super::panel::Finish).
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn finish<const V: usize>(
                epilogue: &Epilogue,
                sums: *const f32,
                pixels: &[Pixel],
                count: usize,
            ) {
                // SAFETY: as the caller promises, and this function has the features.
                unsafe { finish_all::<Vector, V>(epilogue, sums, pixels, count) }
            }

            pub(super) const LANES: usize = <Vector as Lanes>::COUNT;
        }

        static $table: &[Family] = &[$(Family {
            width: $vectors * $module::LANES,
            by_pixels: &[$($module::run::<$pixels, $vectors>),*],
            finish: $module::finish::<$vectors>,
        }),*];
    };
}

kernels!(PORTABLE, portable, super::Plain, [], 2 => [1 2 3 4 5 6], 1 => [1 2 3 4 5 6 7 8]);
#[cfg(target_arch = "x86_64")]
kernels!(AVX2, avx2, super::Avx2, ["avx2,fma"], 2 => [1 2 3 4 5 6], 1 => [1 2 3 4 5 6 7 8 9 10]);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX512, avx512, super::Avx512, ["avx512f"],
    4 => [1 2 3 4 5 6], 2 => [1 2 3 4 5 6 7 8 9 10], 1 => [1 2 3 4 5 6 7 8 9 10 11 12]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    BF16, bf16, super::Avx512Bf16, ["avx512f,avx512bf16"],
    4 => [1 2 3 4 5 6], 2 => [1 2 3 4 5 6 7 8 9 10], 1 => [1 2 3 4 5 6 7 8 9 10 11 12]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    BF16_SUMS, bf16_sums, super::Avx512Bf16Sums, ["avx512f,avx512bf16"],
    4 => [1 2 3 4 5 6], 2 => [1 2 3 4 5 6 7 8 9 10], 1 => [1 2 3 4 5 6 7 8 9 10 11 12]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    VNNI, vnni, super::Avx512Vnni, ["avx512f,avx512bw,avx512vnni"],
    4 => [1 2 3 4 5 6], 2 => [1 2 3 4 5 6 7 8 9 10], 1 => [1 2 3 4 5 6 7 8 9 10 11 12]
);
