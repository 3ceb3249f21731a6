//! The transformations of inputs, filters and outputs.

use crate::kernels::{Isa, Lanes};

/// Products of a tile and a filter.
pub(super) const POSITIONS: usize = 16;

/// `G g Gᵀ`, by rows.
pub(super) fn transform_filter(filter: &[f32]) -> [f32; POSITIONS] {
    let line = |a: f32, b: f32, c: f32| [a, (a + b + c) * 0.5, (a - b + c) * 0.5, c];
    let columns: [[f32; 4]; 3] =
        std::array::from_fn(|x| line(filter[x], filter[3 + x], filter[6 + x]));
    let mut transformed = [0.0; POSITIONS];
    for (y, row) in transformed.chunks_exact_mut(4).enumerate() {
        row.copy_from_slice(&line(columns[0][y], columns[1][y], columns[2][y]));
    }
    transformed
}

/// A tile's 4×4 inputs: element (i, j) of channel c lies at `rows[i] + columns[j] + c`.
pub(super) struct Source {
    pub(super) input: *const u8,
    pub(super) rows: [usize; 4],
    pub(super) columns: [usize; 4],
    pub(super) channels: usize,
}

/// A tile's 2×2 outputs, for `channels` channels; at the image's edge only some exist.
pub(super) struct Sink {
    pub(super) output: *mut u8,
    /// Null if nothing is added.
    pub(super) residual: *const u8,
    pub(super) bias: *const f32,
    pub(super) outputs: [usize; 4],
    pub(super) residuals: [usize; 4],
    pub(super) exists: [bool; 4],
    pub(super) channels: usize,
    pub(super) relu: bool,
}

/// The transformations for one instruction set. The caller guarantees that the processor has it.
pub(super) struct Transforms {
    /// Writes the tile's position p at `to + p * stride` words; reads and writes as [`Source`] says.
    pub(super) input: unsafe fn(source: &Source, to: *mut f32, stride: usize),
    /// Reads the tile's position p at `from + p * stride`; writes as [`Sink`] says.
    pub(super) output: unsafe fn(from: *const f32, stride: usize, sink: &Sink),
}

/// `Bᵀ d B`.
///
/// # Safety
/// The processor has the instruction set; the source can be read; `channels` floats can be written at each position.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // plain indices are what the compiler turns into registers
unsafe fn transform_input<L: Lanes>(source: &Source, to: *mut f32, stride: usize) {
    // SAFETY: as the caller promises; channels are a multiple of every vector's length.
    unsafe {
        for c in (0..source.channels).step_by(L::COUNT) {
            let line = |d: [L::Vector; 4]| {
                [
                    L::subtract(d[0], d[2]),
                    L::add(d[1], d[2]),
                    L::subtract(d[2], d[1]),
                    L::subtract(d[1], d[3]),
                ]
            };
            let mut columns = [[L::zero(); 4]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                let at = source.input.cast::<L::Stored>().add(source.columns[j] + c);
                *column = line(source.rows.map(|row| L::read(at.add(row))));
            }
            for i in 0..4 {
                let row = line([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for (j, value) in row.into_iter().enumerate() {
                    let to = to.add((4 * i + j) * stride).cast::<L::Stored>();
                    L::write(value, to.add(c));
                }
            }
        }
    }
}

/// `Aᵀ m A`, then bias, residual and ReLU.
///
/// # Safety
/// The processor has the instruction set; `channels` floats can be read at each position, and at the sink's bias and
/// residuals, and written at its outputs.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
unsafe fn transform_output<L: Lanes>(from: *const f32, stride: usize, sink: &Sink) {
    // SAFETY: as the caller promises; panels are whole vectors.
    unsafe {
        for c in (0..sink.channels).step_by(L::COUNT) {
            let line = |m: [L::Vector; 4]| {
                let middle = L::add(m[1], m[2]);
                [
                    L::add(m[0], middle),
                    L::subtract(L::subtract(m[1], m[2]), m[3]),
                ]
            };
            let mut rows = [[L::zero(); 4]; 2];
            for j in 0..4 {
                let at = |i: usize| L::load(from.add((4 * i + j) * stride + c));
                let [first, second] = line([at(0), at(1), at(2), at(3)]);
                rows[0][j] = first;
                rows[1][j] = second;
            }
            let bias = L::load(sink.bias.add(c));
            for (i, row) in rows.into_iter().enumerate() {
                for (j, value) in line(row).into_iter().enumerate() {
                    let pixel = 2 * i + j;
                    if sink.exists[pixel] {
                        let mut value = L::add(value, bias);
                        if !sink.residual.is_null() {
                            let from = sink.residual.cast::<L::Stored>();
                            let from = from.add(sink.residuals[pixel] + c);
                            value = L::add(value, L::read(from));
                        }
                        if sink.relu {
                            value = L::relu(value);
                        }
                        let to = sink.output.cast::<L::Stored>();
                        L::write(value, to.add(sink.outputs[pixel] + c));
                    }
                }
            }
        }
    }
}

macro_rules! transforms {
    ($table:ident, $module:ident, $lanes:path, [$($feature:literal)?]) => {
        mod $module {
            use super::{Sink, Source, transform_input, transform_output};

            /// # Safety
            /// As [`super::transform_input`].
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn input(source: &Source, to: *mut f32, stride: usize) {
                // SAFETY: as the caller promises.
                unsafe { transform_input::<$lanes>(source, to, stride) }
            }

            /// # Safety
            /// As [`super::transform_output`].
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn output(from: *const f32, stride: usize, sink: &Sink) {
                // SAFETY: as the caller promises.
                unsafe { transform_output::<$lanes>(from, stride, sink) }
            }
        }

        static $table: Transforms = Transforms { input: $module::input, output: $module::output };
    };
}

transforms!(PORTABLE, portable, crate::kernels::Plain, []);
#[cfg(target_arch = "x86_64")]
transforms!(AVX2, avx2, crate::kernels::Avx2, ["avx2,fma"]);
#[cfg(target_arch = "x86_64")]
transforms!(AVX512, avx512, crate::kernels::Avx512, ["avx512f"]);
#[cfg(target_arch = "x86_64")]
transforms!(
    BF16,
    bf16,
    crate::kernels::Avx512Bf16,
    ["avx512f,avx512bf16"]
);

pub(super) fn transforms(isa: Isa) -> &'static Transforms {
    match isa {
        Isa::Portable => &PORTABLE,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => &BF16,
        _ => &PORTABLE,
    }
}
