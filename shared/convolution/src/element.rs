//! The number formats of activations: f32, bf16 and u8.

use half::bf16;

/// A number of an activation in memory; kernels accumulate in f32 or in 32-bit integers.
pub(crate) trait Element: Copy {
    /// No number of the format is less.
    const LEAST: Self;
    /// `value`, rounded to the nearest number of the format.
    fn of(value: f32) -> Self;
    /// The number as f32; of a `u8` the code, not what it is quantized from.
    fn value(self) -> f32;
    fn larger(self, other: Self) -> Self;
    fn bits(self) -> u32;
    /// The inverse of [`Element::bits`].
    fn of_bits(bits: u32) -> Self;
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

    #[inline(always)]
    fn larger(self, other: f32) -> f32 {
        if other > self { other } else { self }
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits()
    }

    #[inline(always)]
    fn of_bits(bits: u32) -> Self {
        Self::from_bits(bits)
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

    /// Compares the bits as integers, which vectorizes: they are in the order of the values, except that the order of
    /// negative ones is reversed.
    #[inline(always)]
    fn larger(self, other: bf16) -> bf16 {
        let key = |value: bf16| {
            let bits = value.to_bits().cast_signed();
            bits ^ ((bits >> 15).cast_unsigned() >> 1).cast_signed()
        };
        if key(other) > key(self) { other } else { self }
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits().into()
    }

    #[inline(always)]
    fn of_bits(bits: u32) -> Self {
        Self::from_bits(bits as u16)
    }
}

/// A quantized activation; the convolution has its [`Grid`](crate::Grid).
impl Element for u8 {
    const LEAST: Self = 0;

    /// A sum with 2²³ has no bits for a fraction: it is rounded to even, and its last byte is the number.
    #[inline(always)]
    fn of(value: f32) -> Self {
        const NO_FRACTIONS: f32 = (1u32 << 23) as f32;
        (value.clamp(0.0, 255.0) + NO_FRACTIONS).to_bits() as u8
    }

    #[inline(always)]
    fn value(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn larger(self, other: u8) -> u8 {
        self.max(other)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.into()
    }

    #[inline(always)]
    fn of_bits(bits: u32) -> Self {
        bits as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_bfloat16_is_the_larger_number() {
        let values = [
            f32::NEG_INFINITY,
            -3.0,
            -1.0,
            -1e-30,
            -0.0,
            0.0,
            1e-30,
            2.0,
            2.5,
            f32::INFINITY,
        ];
        let values = values.map(bf16::from_f32);
        for (i, a) in values.iter().enumerate() {
            for b in &values[i..] {
                assert_eq!(a.larger(*b), *b);
                assert_eq!(b.larger(*a), *b);
            }
        }
        assert!(
            values
                .iter()
                .all(|value| bf16::LEAST.larger(*value) == *value)
        );
    }

    #[test]
    fn a_byte_is_the_nearest_that_there_is() {
        let cases = [
            (-3.0, 0),
            (0.49, 0),
            (0.5, 0),
            (1.5, 2),
            (2.5, 2),
            (254.6, 255),
            (1e9, 255),
        ];
        for (value, byte) in cases {
            assert_eq!(u8::of(value), byte, "{value}");
        }
    }
}
