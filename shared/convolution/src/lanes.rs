//! The few vector operations that the kernels are written in, for each instruction set.

use crate::element::Element;
use half::bf16;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// What an instruction set does with a vector.
///
/// Every method demands that the processor has the instruction set; the pointers must be valid for
/// [`Lanes::COUNT`] numbers or words (one for `splat`), in any alignment.
pub(crate) trait Lanes {
    /// Sums, or words to multiply: bare, so that the compiler keeps an array of them in registers.
    type Vector: Copy;
    /// Sums while they grow.
    type Sum: Copy;
    /// What activations are held in; weights and inputs come as words of four bytes, one `f32` or two `bf16`.
    type Stored: Element;
    /// Sums in a vector.
    const COUNT: usize;
    /// Hints that the line at `at` will be used at once; any address may be given.
    fn prefetch(at: *const f32);
    /// Hints that the line at `at` will be used soon, but not before much else.
    fn prefetch_far(at: *const f32);
    unsafe fn zero() -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn splat(from: *const f32) -> Self::Vector;
    unsafe fn store(sums: Self::Vector, to: *mut f32);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn subtract(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger of each lane and zero.
    unsafe fn relu(sums: Self::Vector) -> Self::Vector;
    /// Activations, as numbers to sum.
    unsafe fn read(from: *const Self::Stored) -> Self::Vector;
    /// The sums, as activations.
    unsafe fn write(sums: Self::Vector, to: *mut Self::Stored);
    /// Sums side by side, as activations.
    #[inline(always)]
    unsafe fn write_all<const V: usize>(sums: [Self::Vector; V], to: *mut Self::Stored) {
        for (v, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller gives a pointer to `V * COUNT` numbers.
            unsafe { Self::write(sums, to.add(v * Self::COUNT)) }
        }
    }
    /// Sums that lie in memory as they grew.
    unsafe fn sums(from: *const f32) -> Self::Sum;
    /// What sums start from.
    unsafe fn start(bias: *const f32) -> Self::Sum;
    /// `sums + a * b`, of each word's numbers.
    unsafe fn multiply_add(sums: Self::Sum, a: Self::Vector, b: Self::Vector) -> Self::Sum;
    /// Sums that are complete; `scale` matters where they are integers.
    unsafe fn complete(sums: Self::Sum, scale: *const f32, bias: *const f32) -> Self::Vector;
    /// `sums + factor * values`.
    unsafe fn add_scaled(sums: Self::Vector, values: Self::Vector, factor: f32) -> Self::Vector;
}

/// For those whose sums are the numbers that come out: they start from the bias.
macro_rules! sums_are_values {
    () => {
        type Sum = Self::Vector;

        #[inline(always)]
        unsafe fn sums(from: *const f32) -> Self::Vector {
            // SAFETY: as the caller promises.
            unsafe { Self::load(from) }
        }

        #[inline(always)]
        unsafe fn start(bias: *const f32) -> Self::Vector {
            // SAFETY: as the caller promises.
            unsafe { Self::load(bias) }
        }

        #[inline(always)]
        unsafe fn complete(sums: Self::Vector, _: *const f32, _: *const f32) -> Self::Vector {
            sums
        }
    };
}

/// Four floats in plain Rust: what SSE2 and NEON hold in a register.
pub(crate) struct Plain;

impl Lanes for Plain {
    type Vector = [f32; 4];
    type Stored = f32;
    const COUNT: usize = 4;
    sums_are_values!();

    #[inline(always)]
    fn prefetch(_: *const f32) {}

    #[inline(always)]
    fn prefetch_far(_: *const f32) {}

    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller gives a pointer to four floats; arrays of floats need no more alignment.
        unsafe { from.cast::<[f32; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller gives a pointer to a float.
        [unsafe { from.read() }; 4]
    }

    #[inline(always)]
    unsafe fn store(sums: [f32; 4], to: *mut f32) {
        // SAFETY: the caller gives a pointer to four floats that may be written.
        unsafe { to.cast::<[f32; 4]>().write(sums) }
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn subtract(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn relu(sums: [f32; 4]) -> [f32; 4] {
        sums.map(|lane| if lane > 0.0 { lane } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn read(from: *const f32) -> [f32; 4] {
        // SAFETY: as the caller promises.
        unsafe { Self::load(from) }
    }

    #[inline(always)]
    unsafe fn write(sums: [f32; 4], to: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { Self::store(sums, to) }
    }

    #[inline(always)]
    unsafe fn multiply_add(sums: [f32; 4], a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        // Fused where that is an instruction; elsewhere `mul_add` would be a call.
        #[cfg(target_arch = "aarch64")]
        return std::array::from_fn(|i| a[i].mul_add(b[i], sums[i]));
        #[cfg(not(target_arch = "aarch64"))]
        std::array::from_fn(|i| sums[i] + a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn add_scaled(sums: [f32; 4], values: [f32; 4], factor: f32) -> [f32; 4] {
        std::array::from_fn(|i| sums[i] + values[i] * factor)
    }
}

/// The operations that f32 and bf16 share on x86: everything but what is read, written and multiplied.
#[cfg(target_arch = "x86_64")]
macro_rules! x86_lanes {
    (
        $(#[$doc:meta])* $name:ident, $vector:ident, $count:literal, $stored:ident,
        $fma:ident, $zero:ident, $load:ident, $splat:ident, $store:ident, $add:ident, $sub:ident,
        $($own:item)*
    ) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Lanes for $name {
            type Vector = $vector;
            type Stored = $stored;
            const COUNT: usize = $count;

            #[inline(always)]
            fn prefetch(at: *const f32) {
                // SAFETY: SSE is part of x86-64, and a prefetch never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }

            #[inline(always)]
            fn prefetch_far(at: *const f32) {
                // SAFETY: as above.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
            }

            #[inline(always)]
            unsafe fn zero() -> $vector {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $zero() }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                // SAFETY: the caller vouches for the instruction set and the pointer.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn splat(from: *const f32) -> $vector {
                // SAFETY: the caller vouches for the instruction set and the pointer.
                unsafe { $splat(*from) }
            }

            #[inline(always)]
            unsafe fn store(sums: $vector, to: *mut f32) {
                // SAFETY: the caller vouches for the instruction set and the pointer.
                unsafe { $store(to, sums) }
            }

            #[inline(always)]
            unsafe fn add(a: $vector, b: $vector) -> $vector {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            unsafe fn subtract(a: $vector, b: $vector) -> $vector {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $sub(a, b) }
            }

            #[inline(always)]
            unsafe fn add_scaled(sums: $vector, values: $vector, factor: f32) -> $vector {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $fma(values, $splat(factor), sums) }
            }

            $($own)*
        }
    };
}

/// Numbers in f32: read and written as they are summed. `$multiply` is what makes products of words and sums them.
#[cfg(target_arch = "x86_64")]
macro_rules! x86_floats {
    ($(#[$doc:meta])* $name:ident, $vector:ident, $count:literal, $fma:ident, $multiply:ident, $max:ident, $($operation:ident),*) => {
        x86_lanes! {
            $(#[$doc])* $name, $vector, $count, f32, $fma, $($operation),*,

            sums_are_values!();

            #[inline(always)]
            unsafe fn relu(sums: $vector) -> $vector {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $max(sums, Self::zero()) }
            }

            #[inline(always)]
            unsafe fn read(from: *const f32) -> $vector {
                // SAFETY: as the caller promises.
                unsafe { Self::load(from) }
            }

            #[inline(always)]
            unsafe fn write(sums: $vector, to: *mut f32) {
                // SAFETY: as the caller promises.
                unsafe { Self::store(sums, to) }
            }

            #[inline(always)]
            unsafe fn multiply_add(sums: $vector, a: $vector, b: $vector) -> $vector {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $multiply(a, b, sums) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_floats!(
    /// Eight floats.
    Avx2, __m256, 8, _mm256_fmadd_ps, _mm256_fmadd_ps, _mm256_max_ps,
    _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps
);
#[cfg(target_arch = "x86_64")]
x86_floats!(
    /// Sixteen floats.
    Avx512, __m512, 16, _mm512_fmadd_ps, _mm512_fmadd_ps, _mm512_max_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps
);
/// `sums + a * b`, of the pairs of `bf16` in each word.
///
/// # Safety
/// The processor has AVX512-BF16.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn multiply_pairs(a: __m512, b: __m512, sums: __m512) -> __m512 {
    // SAFETY: as the caller promises; both types are 64 plain bytes.
    unsafe {
        let pairs = |words| std::mem::transmute::<__m512, __m512bh>(words);
        _mm512_dpbf16_ps(sums, pairs(a), pairs(b))
    }
}

#[cfg(target_arch = "x86_64")]
x86_lanes! {
    /// Sixteen sums in f32, or sixteen pairs of `bf16` to multiply.
    Avx512Bf16, __m512, 16, bf16, _mm512_fmadd_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps,

    sums_are_values!();

    #[inline(always)]
    unsafe fn relu(sums: __m512) -> __m512 {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_max_ps(sums, _mm512_setzero_ps()) }
    }

    /// A `bf16` is the upper half of the `f32` of the same value.
    #[inline(always)]
    unsafe fn read(from: *const bf16) -> __m512 {
        // SAFETY: the caller vouches for the instruction set and the pointer.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn write(sums: __m512, to: *mut bf16) {
        // SAFETY: the caller vouches for the instruction set and the pointer; both types are 32 plain bytes.
        unsafe {
            let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(sums));
            _mm256_storeu_si256(to.cast(), rounded);
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(sums: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { multiply_pairs(a, b, sums) }
    }
}
#[cfg(target_arch = "x86_64")]
x86_floats!(
    /// As [`Avx512Bf16`], with sums that are written as they are.
    Avx512Bf16Sums, __m512, 16, _mm512_fmadd_ps, multiply_pairs, _mm512_max_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps
);
#[cfg(target_arch = "x86_64")]
x86_lanes! {
    /// Sixteen sums in 32-bit integers of four products each, bytes with signed bytes.
    Avx512Vnni, __m512, 16, u8, _mm512_fmadd_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps,

    type Sum = __m512i;

    /// A byte holds nothing below its zero, which is 0 where a result is rectified.
    #[inline(always)]
    unsafe fn relu(sums: __m512) -> __m512 {
        sums
    }

    #[inline(always)]
    unsafe fn read(from: *const u8) -> __m512 {
        // SAFETY: the caller vouches for the instruction set and the pointer.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    /// What a byte can't hold becomes the nearest that it can.
    #[inline(always)]
    unsafe fn write(sums: __m512, to: *mut u8) {
        // SAFETY: the caller vouches for the instruction set and the pointer.
        unsafe {
            let positive = _mm512_max_epi32(_mm512_cvtps_epi32(sums), _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(positive));
        }
    }

    /// Four vectors become one, and two become a half: packed within each quarter of a register, then the quarters put
    /// in order.
    #[inline(always)]
    unsafe fn write_all<const V: usize>(sums: [__m512; V], to: *mut u8) {
        // SAFETY: the caller vouches for the instruction set, and gives a pointer to `V * COUNT` bytes.
        unsafe {
            let halves = |a, b| _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
            let bytes = |low, high| {
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high))
            };
            match *sums.as_slice() {
                [a, b, c, d] => _mm512_storeu_si512(to.cast(), bytes(halves(a, b), halves(c, d))),
                [a, b] => {
                    let both = bytes(halves(a, b), _mm512_setzero_si512());
                    _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(both));
                }
                _ => {
                    for (v, sums) in sums.into_iter().enumerate() {
                        Self::write(sums, to.add(v * Self::COUNT));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn sums(from: *const f32) -> __m512i {
        // SAFETY: the caller vouches for the instruction set and the pointer.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn start(_: *const f32) -> __m512i {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn multiply_add(sums: __m512i, a: __m512, b: __m512) -> __m512i {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_dpbusd_epi32(sums, _mm512_castps_si512(a), _mm512_castps_si512(b)) }
    }

    #[inline(always)]
    unsafe fn complete(sums: __m512i, scale: *const f32, bias: *const f32) -> __m512 {
        // SAFETY: the caller vouches for the instruction set and the pointers.
        unsafe { _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(scale), _mm512_loadu_ps(bias)) }
    }
}
