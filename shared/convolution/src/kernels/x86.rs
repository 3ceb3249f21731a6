//! Vectors of AVX2 and AVX-512.

use super::lanes::{Lanes, sums_are_values};
use half::bf16;
use std::arch::x86_64::*;

/// What all number formats share on x86: everything but loads, stores and multiplication of activations.
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

/// Vectors that load and store f32. `$multiply` multiplies words and accumulates the products.
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

x86_floats!(
    /// Eight floats.
    Avx2, __m256, 8, _mm256_fmadd_ps, _mm256_fmadd_ps, _mm256_max_ps,
    _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps
);
x86_floats!(
    /// Sixteen floats.
    Avx512, __m512, 16, _mm512_fmadd_ps, _mm512_fmadd_ps, _mm512_max_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps
);
/// `sums + a * b`, of the pairs of `bf16` in each word.
///
/// # Safety
/// The processor has AVX512-BF16.
#[inline(always)]
unsafe fn multiply_pairs(a: __m512, b: __m512, sums: __m512) -> __m512 {
    // SAFETY: as the caller promises; both types are 64 plain bytes.
    unsafe {
        let pairs = |words| std::mem::transmute::<__m512, __m512bh>(words);
        _mm512_dpbf16_ps(sums, pairs(a), pairs(b))
    }
}

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
x86_floats!(
    /// As [`Avx512Bf16`], with results stored as f32.
    Avx512Bf16Sums, __m512, 16, _mm512_fmadd_ps, multiply_pairs, _mm512_max_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps
);
x86_lanes! {
    /// Sixteen accumulators in 32-bit integers, each of four products of `u8` with `i8`.
    Avx512Vnni, __m512, 16, u8, _mm512_fmadd_ps,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps,

    type Sum = __m512i;

    /// Nothing to do: a rectified result has zero point 0, and the store saturates at it.
    #[inline(always)]
    unsafe fn relu(sums: __m512) -> __m512 {
        sums
    }

    #[inline(always)]
    unsafe fn read(from: *const u8) -> __m512 {
        // SAFETY: the caller vouches for the instruction set and the pointer.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    /// Values outside `u8` saturate.
    #[inline(always)]
    unsafe fn write(sums: __m512, to: *mut u8) {
        // SAFETY: the caller vouches for the instruction set and the pointer.
        unsafe {
            let positive = _mm512_max_epi32(_mm512_cvtps_epi32(sums), _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(positive));
        }
    }

    /// Packs four vectors into one, or two into half a one: packing works within each quarter of a register, then a
    /// permutation puts the quarters in order.
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
