//! The vector operations that kernels are written in, and their implementation in plain Rust.

use crate::element::Element;

/// The vector operations of an instruction set.
///
/// # Safety
/// For every method, the processor has the instruction set and pointers are valid for [`Lanes::COUNT`] numbers or
/// words (one for `splat`), in any alignment.
pub(crate) trait Lanes {
    /// Sums, or words to multiply. A bare vector type, so that the compiler keeps an array of them in registers.
    type Vector: Copy;
    /// Accumulators.
    type Sum: Copy;
    /// The number format of activations. Weights and inputs are read as words of four bytes: one `f32`, two `bf16` or
    /// four 8-bit integers.
    type Stored: Element;
    /// Sums in a vector.
    const COUNT: usize;
    /// Prefetches the cache line at `at` into the first-level cache; any address is allowed.
    fn prefetch(at: *const f32);
    /// Prefetches the cache line at `at` into the second-level cache; any address is allowed.
    fn prefetch_far(at: *const f32);
    unsafe fn zero() -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn splat(from: *const f32) -> Self::Vector;
    unsafe fn store(sums: Self::Vector, to: *mut f32);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn subtract(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger of each lane and zero.
    unsafe fn relu(sums: Self::Vector) -> Self::Vector;
    /// Loads activations, converted to f32.
    unsafe fn read(from: *const Self::Stored) -> Self::Vector;
    /// Stores sums, converted to activations.
    unsafe fn write(sums: Self::Vector, to: *mut Self::Stored);
    /// Stores `V` adjacent vectors of sums, converted to activations.
    #[inline(always)]
    unsafe fn write_all<const V: usize>(sums: [Self::Vector; V], to: *mut Self::Stored) {
        for (v, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller gives a pointer to `V * COUNT` numbers.
            unsafe { Self::write(sums, to.add(v * Self::COUNT)) }
        }
    }
    /// Loads accumulators from memory.
    unsafe fn sums(from: *const f32) -> Self::Sum;
    /// The accumulators' initial value: the bias, or zero for integers.
    unsafe fn start(bias: *const f32) -> Self::Sum;
    /// `sums + a * b`, over all numbers of each word.
    unsafe fn multiply_add(sums: Self::Sum, a: Self::Vector, b: Self::Vector) -> Self::Sum;
    /// Converts accumulators to f32; integers are multiplied by `scale` and get their bias.
    unsafe fn complete(sums: Self::Sum, scale: *const f32, bias: *const f32) -> Self::Vector;
    /// `sums + factor * values`.
    unsafe fn add_scaled(sums: Self::Vector, values: Self::Vector, factor: f32) -> Self::Vector;
}

/// For instruction sets whose accumulators are f32 and start from the bias.
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

#[cfg(target_arch = "x86_64")]
pub(super) use sums_are_values;

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
