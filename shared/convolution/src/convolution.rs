//! A convolution with packed weights, and how its work is cut for caches and threads.

use std::ops::Range;

use crate::error::{Error, expect};
use crate::extent::Extent;
use crate::isa::Isa;
use crate::kernels::{Panel, Pixel};
use crate::packing::{Packed, Slice};

/// Output pixels that go through all panels before the next ones: whole tiles of any height up to six,
/// whose inputs stay in the second-level cache and whose places are looked up once.
const BLOCK: usize = 120;
/// Bytes of input that a block of pixels may span, to stay in the second-level cache beside the weights.
const INPUT_BYTES: usize = 160 << 10;
/// Multiplications that are worth a chunk of their own: some ten microseconds.
const CHUNK_MACS: usize = 400_000;
/// Chunks for each thread, so that a thread that lost its core delays the others little.
const CHUNKS_A_THREAD: usize = 6;

/// The sizes of a convolution. `stride` and `padding` hold for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub out_channels: usize,
    pub in_channels: usize,
    /// Height and width.
    pub kernel: (usize, usize),
    pub stride: usize,
    pub padding: usize,
    /// 1; grouped convolutions are not supported yet.
    pub groups: usize,
}

/// A two-dimensional convolution with its bias, packed for the kernels of one instruction set.
pub struct Conv2d {
    shape: Shape,
    packed: Packed,
}

/// How the work on a convolution is cut: blocks of output pixels times groups of panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pixels: usize,
    blocks: usize,
    groups: usize,
}

impl Cut {
    pub(crate) fn chunks(&self) -> usize {
        self.blocks * self.groups
    }
}

/// The activations that a convolution reads and writes.
pub(crate) struct Views {
    pub(crate) input: (*const f32, Extent),
    pub(crate) output: (*mut f32, Extent),
    pub(crate) residual: Option<(*const f32, Extent)>,
    pub(crate) relu: bool,
}

impl Conv2d {
    /// Packs `weight` (`[out_channels, in_channels, height, width]`, row-major) and `bias`
    /// (`[out_channels]`) for the best kernels that this machine has.
    pub fn new(weight: &[f32], bias: &[f32], shape: Shape) -> Result<Self, Error> {
        Self::for_isa(Isa::detect(), weight, bias, shape)
    }

    /// As [`Conv2d::new`], for the kernels of `isa`.
    pub fn for_isa(isa: Isa, weight: &[f32], bias: &[f32], shape: Shape) -> Result<Self, Error> {
        let (height, width) = shape.kernel;
        if shape.groups != 1 {
            return Err(Error::Unsupported(format!("{} groups", shape.groups)));
        }
        if !isa.available() {
            return Err(Error::Unsupported(format!("{isa:?} on this processor")));
        }
        let least = [
            shape.out_channels,
            shape.in_channels,
            height,
            width,
            shape.stride,
        ];
        if least.contains(&0) {
            return Err(Error::Unsupported(format!("a size of zero in {shape:?}")));
        }
        let taps = height * width;
        let inputs = shape.in_channels * taps;
        expect("weight", shape.out_channels * inputs, weight.len())?;
        expect("bias", shape.out_channels, bias.len())?;
        let packed = Packed::new(isa, shape.out_channels, inputs, bias, |o, k| {
            let (tap, channel) = (k / shape.in_channels, k % shape.in_channels);
            weight[o * inputs + channel * taps + tap]
        });
        Ok(Self { shape, packed })
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The output's height and width; `None` where the kernel exceeds the padded input.
    pub(crate) fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let Shape {
            kernel,
            stride,
            padding,
            ..
        } = self.shape;
        let size = |input: usize, kernel: usize| {
            let room = (input + 2 * padding).checked_sub(kernel)?;
            Some(room / stride + 1)
        };
        Some((size(height, kernel.0)?, size(width, kernel.1)?))
    }

    /// Cuts the work on `images` images for `threads` threads.
    pub(crate) fn cut(&self, images: usize, output: &Extent, threads: usize) -> Cut {
        let Shape {
            kernel,
            stride,
            in_channels,
            out_channels,
            ..
        } = self.shape;
        let pixels = images * output.pixels();
        let macs = pixels * out_channels * in_channels * kernel.0 * kernel.1;
        let wanted = (macs / CHUNK_MACS).clamp(1, threads * CHUNKS_A_THREAD);
        let span = in_channels * size_of::<f32>() * stride.min(kernel.1);
        let fitting = (INPUT_BYTES / span).clamp(24, 4096);
        let blocks = pixels.div_ceil(fitting);
        let groups = wanted.div_ceil(blocks).min(self.packed.slices.len());
        let blocks = blocks.max(wanted.div_ceil(groups)).min(pixels);
        Cut {
            pixels,
            blocks,
            groups,
        }
    }

    /// Computes one chunk of `cut`.
    ///
    /// # Safety
    /// The views hold as many images as `cut` was made for, in their extents: the input with a border
    /// of at least the padding, the output of this convolution's size, the residual of the output's.
    /// No one else writes the input or the residual, or touches this chunk's part of the output.
    pub(crate) unsafe fn compute(&self, views: &Views, cut: &Cut, chunk: usize) {
        let slices = part(self.packed.slices.len(), cut.groups, chunk / cut.blocks);
        let pixels = part(cut.pixels, cut.blocks, chunk % cut.blocks);
        let mut places = [Pixel::default(); BLOCK];
        let mut first = pixels.start;
        while first < pixels.end {
            let block = &mut places[..BLOCK.min(pixels.end - first)];
            self.place(views, first, block);
            for slice in &self.packed.slices[slices.clone()] {
                // SAFETY: `place` keeps to the extents, which the caller vouches for.
                unsafe { self.compute_slice(views, slice, block) };
            }
            first += block.len();
        }
    }

    /// Looks up where the output pixels from `first` on read and write.
    fn place(&self, views: &Views, first: usize, places: &mut [Pixel]) {
        let Shape {
            stride, padding, ..
        } = self.shape;
        let (input, output) = (&views.input.1, &views.output.1);
        let residual = views.residual.as_ref().map_or(output, |(_, extent)| extent);
        let inset = input.border - padding;
        let (mut n, in_image) = (first / output.pixels(), first % output.pixels());
        let (mut y, mut x) = (in_image / output.width, in_image % output.width);
        let mut places = places.iter_mut();
        while places.len() > 0 {
            let mut place = Pixel {
                input: n * input.image()
                    + (y * stride + inset) * input.row()
                    + (x * stride + inset) * input.channels,
                output: output.at(n, y, x),
                residual: residual.at(n, y, x),
            };
            for to in places.by_ref().take(output.width - x) {
                *to = place;
                place.input += stride * input.channels;
                place.output += output.channels;
                place.residual += output.channels;
            }
            x = 0;
            y += 1;
            if y == output.height {
                y = 0;
                n += 1;
            }
        }
    }

    /// Computes the channels of `slice` at `places`, in tiles of as equal a height as can be.
    ///
    /// # Safety
    /// As [`Conv2d::compute`]; `places` lie inside the views' extents.
    unsafe fn compute_slice(&self, views: &Views, slice: &Slice, places: &[Pixel]) {
        let Shape {
            kernel,
            in_channels,
            ..
        } = self.shape;
        let residual = match views.residual {
            // SAFETY: an output channel's index is within the first pixel.
            Some((start, _)) => unsafe { start.add(slice.first) },
            None => std::ptr::null(),
        };
        // SAFETY: the slice's first channel, weights and bias lie within their blocks.
        let panel = unsafe {
            Panel {
                input: views.input.0,
                output: views.output.0.add(slice.first),
                residual,
                weights: self.packed.weights.pointer().add(slice.weights),
                bias: self.packed.bias.pointer().add(slice.first),
                runs: kernel.0,
                run_length: kernel.1 * in_channels,
                run_stride: views.input.1.row(),
                channels: slice.channels,
                relu: views.relu,
            }
        };
        let kernels = slice.family.by_pixels;
        let tiles = places.len().div_ceil(kernels.len());
        for tile in 0..tiles {
            let tile = &places[part(places.len(), tiles, tile)];
            // SAFETY: the family is of an available instruction set; the tile has as many pixels as
            // its kernel computes; the panel and the places keep the rest of `Kernel`'s conditions.
            unsafe { kernels[tile.len() - 1](&panel, tile.as_ptr()) };
        }
    }
}

/// Part `index` of `0..total` cut into `parts` of almost the same size.
pub(crate) fn part(total: usize, parts: usize, index: usize) -> Range<usize> {
    total * index / parts..total * (index + 1) / parts
}
