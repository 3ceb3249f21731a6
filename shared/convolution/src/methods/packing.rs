//! Packed weights: in the order in which kernels read them.

use crate::{
    aligned::Aligned,
    kernels::{Family, Isa},
};
use half::bf16;

/// The panel widths of an instruction set, widest first: [`families`](crate::kernels::families) or others like them.
pub(crate) type Families = fn(Isa) -> &'static [Family];

/// A panel: the output channels that one kernel computes.
pub(crate) struct Slice {
    pub(crate) family: &'static Family,
    /// The first output channel.
    pub(crate) first: usize,
    /// Output channels; fewer than the family's width in the last panel only.
    pub(crate) channels: usize,
    /// The index of its first weight.
    pub(crate) weights: usize,
}

/// A convolution's weights, cut into panels of output channels and padded to whole vectors.
pub(crate) struct Packed {
    pub(crate) slices: Vec<Slice>,
    pub(crate) weights: Aligned,
    pub(crate) bias: Aligned,
}

impl Packed {
    /// `weight(o, k)` is the factor of input `k` in output channel `o`; inputs are numbered in the
    /// order of the kernels: kernel row, kernel column, input channel.
    pub(crate) fn new(
        (families, isa): (Families, Isa),
        outputs: usize,
        inputs: usize,
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let slices = slices((families, isa), outputs, inputs);
        let floats = slices
            .last()
            .map_or(0, |s| s.weights + s.family.width * inputs);
        let mut weights = Aligned::zeroed(floats);
        for slice in &slices {
            let width = slice.family.width;
            let panel = &mut weights.as_mut_slice()[slice.weights..][..width * inputs];
            for (k, row) in panel.chunks_exact_mut(width).enumerate() {
                for (c, to) in row.iter_mut().take(slice.channels).enumerate() {
                    *to = weight(slice.first + c, k);
                }
            }
        }
        let widest = slices.iter().map(|s| s.first + s.family.width).max();
        let mut padded = Aligned::zeroed(widest.unwrap_or(0));
        padded.as_mut_slice()[..outputs].copy_from_slice(bias);
        Self {
            slices,
            weights,
            bias: padded,
        }
    }

    /// The first of a slice's weights.
    pub(crate) fn weights_of(&self, slice: &Slice) -> *const f32 {
        self.weights.as_slice()[slice.weights..].as_ptr()
    }

    /// The weights of the next slice; past the end after the last one.
    pub(crate) fn after(&self, slice: &Slice) -> *const f32 {
        let panel = self.weights.len() / self.bias.len() * slice.family.width;
        self.weights_of(slice).wrapping_add(panel)
    }
}

/// Two bfloat16 in the bits of a word, the first one in the lower half.
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    let bits = |value| u32::from(bf16::from_f32(value).to_bits());
    f32::from_bits(bits(first) | bits(second) << 16)
}

/// Cuts `outputs` channels into the widest panels that they fill, and the rest into the narrowest
/// that holds it.
fn slices((families, isa): (Families, Isa), outputs: usize, inputs: usize) -> Vec<Slice> {
    let mut slices = Vec::new();
    let (mut first, mut weights) = (0, 0);
    while first < outputs {
        let left = outputs - first;
        let family = best((families, isa), left);
        slices.push(Slice {
            family,
            first,
            channels: left.min(family.width),
            weights,
        });
        first += family.width;
        weights += family.width * inputs;
    }
    slices
}

fn best((families, isa): (Families, Isa), left: usize) -> &'static Family {
    // Half a wide vector would be wasted on eight channels or fewer.
    let isa = match isa {
        Isa::Avx512 if left <= 8 => Isa::Avx2,
        other => other,
    };
    let all = families(isa);
    let full = all.iter().find(|family| family.width <= left);
    full.unwrap_or(&all[all.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::families;

    #[test]
    fn panels_cover_each_channel_once() {
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
            for outputs in 1..200 {
                let mut next = 0;
                for slice in slices((families, isa), outputs, 3) {
                    assert_eq!(slice.first, next);
                    assert!(slice.channels <= slice.family.width);
                    next += slice.channels;
                }
                assert_eq!(next, outputs, "{isa:?}");
            }
        }
    }
}
