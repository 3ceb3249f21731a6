//! The operands of kernels, and how the pixels of a panel of output channels are cut into tiles.

use crate::cut::part;

/// Bytes of a word, the unit that kernels multiply: one f32, two bf16 or four 8-bit integers.
pub(crate) const WORD: usize = 4;

/// Rows of a matrix register, and words of each row.
pub(crate) const SIDE: usize = 16;

/// Output channels of the widest panel: four vectors of sixteen.
pub(crate) const WIDEST: usize = 64;

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

/// Steps of the inner product that are unrolled, with one prefetch of the next panel's weights. More prefetches would
/// fill the line buffers and delay loads that hit the cache.
pub(super) const STEPS: usize = 2;

/// The operands that all tiles of a panel of output channels share.
///
/// `input` points to the first number of the activations, `weights` to the first weight of the panel. Offsets are in words
/// of four bytes.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) input: *const f32,
    pub(crate) weights: *const f32,
    /// The weights to prefetch for the next panel; any address is allowed.
    pub(crate) next: *const f32,
    pub(crate) runs: usize,
    pub(crate) run_length: usize,
    pub(crate) run_stride: usize,
    pub(crate) epilogue: Epilogue,
}

/// What is done with the sums of a panel: scale, bias, residual, ReLU, store.
///
/// `output` and `residual` point to the first number of the activations in the panel's channels; offsets are in numbers.
/// `bias` and `scale` point to those of the panel. If `residual` is null, nothing is added.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    pub(crate) output: *mut u8,
    pub(crate) residual: *const u8,
    pub(crate) bias: *const f32,
    /// Factors of integer sums; read by int8 kernels only.
    pub(crate) scale: *const f32,
    pub(crate) residual_factor: f32,
    /// Channels to write: the panel's width, or fewer in the last panel.
    pub(crate) channels: usize,
    pub(crate) relu: bool,
}

/// Offsets of one output pixel from the start of the activations: of its input in words, of the others in numbers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pixel {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) residual: usize,
}

/// A kernel: computes one tile.
///
/// # Safety
/// The processor has the kernel's instruction set. `pixels` points to as many pixels as the kernel is made for. For each
/// of them, `input` has `runs` runs of `run_length` words, `run_stride` words apart, that can be read; `output` has
/// `channels` numbers that can be written and that no other thread accesses meanwhile; so has `residual`, to be read,
/// unless it is null. `weights` holds `runs * run_length` rows as wide as the panel, `bias` one, and for int8 kernels
/// `scale` one.
pub(crate) type Kernel = unsafe fn(panel: &Panel, pixels: *const Pixel);

/// Applies the epilogue to the first `count` of `pixels`; the `input` of a pixel is the row of `sums` with its sums.
///
/// # Safety
/// As [`Kernel`], for the epilogue alone.
pub(crate) type Finish =
    unsafe fn(epilogue: &Epilogue, sums: *const f32, pixels: &[Pixel], count: usize);

/// The kernels of one panel width: `by_pixels[p - 1]` computes `p` pixels at once.
pub(crate) struct Family {
    /// Output channels of a panel.
    pub(crate) width: usize,
    pub(crate) by_pixels: &'static [Kernel],
    pub(crate) finish: Finish,
}

impl Family {
    /// Computes all `pixels`, in tiles of almost equal height. The first tile brings the weights into the second-level
    /// cache; each tile prefetches a share of the next panel's.
    ///
    /// # Safety
    /// As [`Kernel`], for each of the pixels.
    pub(crate) unsafe fn compute(&self, panel: &Panel, pixels: &[Pixel]) {
        let tiles = pixels.len().div_ceil(self.by_pixels.len());
        let weights = panel.runs * panel.run_length * self.width;
        let lines = panel.runs * (panel.run_length / STEPS);
        for number in 0..tiles {
            let tile = &pixels[part(pixels.len(), tiles, number)];
            let asked = number * lines * LINE;
            let next = if asked < weights {
                panel.next.wrapping_add(asked)
            } else {
                panel.weights
            };
            let panel = &Panel { next, ..*panel };
            // SAFETY: the tile has as many pixels as its kernel computes; the rest is the caller's promise.
            unsafe { self.by_pixels[tile.len() - 1](panel, tile.as_ptr()) };
        }
    }
}
