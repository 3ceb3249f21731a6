//! Which vector instructions a kernel is made of.

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust in groups of four, for any processor (on 64-bit Arm this becomes NEON).
    Portable,
    /// Eight lanes and fused multiply-add.
    Avx2,
    /// Sixteen lanes.
    Avx512,
}

impl Isa {
    /// The best set that this machine runs.
    pub fn detect() -> Self {
        [Self::Avx512, Self::Avx2]
            .into_iter()
            .find(|isa| isa.available())
            .unwrap_or(Self::Portable)
    }

    /// All sets that this machine runs.
    pub fn all_available() -> impl Iterator<Item = Self> {
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(|isa| isa.available())
    }

    /// Whether this machine runs the set.
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}
