//! The few vector operations that the kernels are written in, for each instruction set.

use crate::element::Element;

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
