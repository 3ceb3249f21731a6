//! The instruction sets that kernels are written for, and which of them the processor has.

use crate::precision::Precision;

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust in groups of four, for any processor (on 64-bit Arm this becomes NEON).
    Portable,
    /// Eight lanes and fused multiply-add.
    Avx2,
    /// Sixteen lanes.
    Avx512,
    /// Sixteen lanes of pairs of bfloat16, multiplied and summed in f32 (VDPBF16PS).
    Avx512Bf16,
    /// Sixteen lanes of four 8-bit integers, multiplied and summed in 32-bit integers (VPDPBUSD).
    Avx512Vnni,
    /// AMX matrix registers of sixteen rows (TDPBF16PS), with [`Isa::Avx512Bf16`] for everything else.
    AmxBf16,
    /// The same for int8 (TDPBUSD), with [`Isa::Avx512Vnni`] for everything else.
    AmxInt8,
}

impl Isa {
    /// The fastest set for f32 that the processor has.
    pub fn detect() -> Self {
        Self::of(Precision::F32).unwrap_or(Self::Portable)
    }

    /// The fastest set for `precision` that the processor has; `None` if it has none.
    pub fn of(precision: Precision) -> Option<Self> {
        Self::all_of(precision).next()
    }

    /// All sets for `precision` that the processor has, the fastest first.
    pub fn all_of(precision: Precision) -> impl Iterator<Item = Self> {
        let known: &[Self] = match precision {
            Precision::F32 => &[Self::Avx512, Self::Avx2, Self::Portable],
            Precision::Bf16 => &[Self::AmxBf16, Self::Avx512Bf16],
            Precision::Int8 => &[Self::AmxInt8, Self::Avx512Vnni],
        };
        known.iter().copied().filter(|isa| isa.available())
    }

    /// The number format that its kernels compute in.
    pub fn precision(self) -> Precision {
        match self {
            Self::Avx512Bf16 | Self::AmxBf16 => Precision::Bf16,
            Self::Avx512Vnni | Self::AmxInt8 => Precision::Int8,
            Self::Portable | Self::Avx2 | Self::Avx512 => Precision::F32,
        }
    }

    /// Whether the processor has the set and the system lets the process use it.
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => is_x86_feature_detected!("avx512bf16") && Self::Avx512.available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("avx512bw")
                    && Self::Avx512.available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::AmxBf16 => super::matrix::available() && Self::Avx512Bf16.available(),
            #[cfg(target_arch = "x86_64")]
            Self::AmxInt8 => super::matrix::available() && Self::Avx512Vnni.available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}
