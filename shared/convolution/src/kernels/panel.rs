//! What the kernels of one panel of output channels work on, and how its pixels are cut into tiles.

use crate::cut::part;

/// Bytes of what kernels multiply at a time.
pub(crate) const WORD: usize = 4;

/// Rows of a matrix register, and words of a row.
pub(crate) const SIDE: usize = 16;

/// The widest panel: four vectors of sixteen.
pub(crate) const WIDEST: usize = 64;

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

/// Steps of the inner product that are written out together, and ask for a line of the next panel's weights together:
/// more lines at a time than come from afar would hold up those that come from near.
pub(super) const STEPS: usize = 2;

/// What all tiles of one panel of output channels share.
///
/// `input` points to the activations' first number, `weights` to the panel's. Both are counted in words of four bytes.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) input: *const f32,
    pub(crate) weights: *const f32,
    /// What will be read after this panel's weights, to be brought near meanwhile: any address.
    pub(crate) next: *const f32,
    pub(crate) runs: usize,
    pub(crate) run_length: usize,
    pub(crate) run_stride: usize,
    pub(crate) epilogue: Epilogue,
}

/// What becomes of a panel's sums.
///
/// `output` and `residual` point to the activations' first number in the panel's channels, and are counted in the
/// numbers that activations are held in; `bias` and `scale` to the panel's. A null `residual` means that nothing is added.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    pub(crate) output: *mut u8,
    pub(crate) residual: *const u8,
    pub(crate) bias: *const f32,
    /// What integer sums are multiplied by; read by kernels of bytes alone.
    pub(crate) scale: *const f32,
    pub(crate) residual_factor: f32,
    /// Channels to write; fewer than the panel is wide where the output's count is no multiple.
    pub(crate) channels: usize,
    pub(crate) relu: bool,
}

/// Where one output pixel reads (in words) and writes (in numbers), from the activations' start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pixel {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) residual: usize,
}

/// Computes one tile.
///
/// # Safety
/// The processor has the kernel's instruction set. `pixels` points to as many pixels as the kernel
/// is made for. For each of them, `runs` stretches of `run_length` floats, `run_stride` apart, can be
/// read from `input`; `channels` floats can be written to `output`, which no one else reads or writes
/// meanwhile, and read from `residual` unless that is null. `weights` holds `runs * run_length` rows of
/// the panel's width, `bias` one, and so does `scale` where the kernel is one of bytes.
pub(crate) type Kernel = unsafe fn(panel: &Panel, pixels: *const Pixel);

/// Finishes the sums of a panel for the first `count` of `pixels`, whose `input` says in which row of `sums` theirs lie.
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
    /// Computes all `pixels`, in tiles of as equal a height as can be. Weights come from afar once and from the
    /// second-level cache for every further tile; meanwhile each tile asks for its share of the next panel's.
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
