//! The numbers that activations are held in.

use half::bf16;

/// A number in memory; sums are `f32` always.
pub(crate) trait Element: Copy {
    /// Below every number.
    const LEAST: Self;
    /// The nearest to `value`.
    fn of(value: f32) -> Self;
    fn value(self) -> f32;
}

impl Element for f32 {
    const LEAST: Self = f32::NEG_INFINITY;

    #[inline(always)]
    fn of(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    const LEAST: Self = bf16::NEG_INFINITY;

    #[inline(always)]
    fn of(value: f32) -> Self {
        bf16::from_f32(value)
    }

    #[inline(always)]
    fn value(self) -> f32 {
        bf16::to_f32(self)
    }
}
