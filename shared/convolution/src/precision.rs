//! The number formats of a network.

use std::{fmt, str::FromStr};

/// The number format of a network's activations and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16, accumulated in f32: half the memory, twice the multiplications a cycle, 8 bits of mantissa.
    Bf16,
    /// 8-bit integers, accumulated in 32 bits, with static [quantization](crate::Grid): a quarter of the memory.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!(
                "{text:?} is no precision: f32, bf16 or int8 expected"
            )),
        }
    }
}

impl Precision {
    /// Bytes of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::Int8 => 1,
        }
    }

    /// Channels in memory, padding included: bf16 is multiplied in pairs, int8 in fours.
    pub(crate) fn stored(self, channels: usize) -> usize {
        match self {
            Self::F32 => channels,
            Self::Bf16 => channels.next_multiple_of(2),
            Self::Int8 => channels.next_multiple_of(4),
        }
    }
}
