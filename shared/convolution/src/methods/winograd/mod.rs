//! 3×3 convolutions of stride 1 by Winograd's minimal filtering F(2×2, 3×3): sixteen multiplications for four outputs
//! instead of thirty-six.
//!
//! Additions transform a tile of 4×4 inputs and each filter into sixteen positions each. The products at a position,
//! summed over the input channels, are a matrix product. One more transformation gives the 2×2 outputs.
//! In bfloat16, transformed tiles and filters are rounded, and the products are summed and transformed in f32.
//! Formulas: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308, section 4.1.

mod transforms;

use super::packing::{Packed, Slice, pair};
use crate::{
    aligned::Aligned,
    cut::{Cut, part},
    extent::{Extent, Views},
    kernels::{Epilogue, Isa, Panel, Pixel, WIDEST, WORD, families_of_sums},
    precision::Precision,
    shape::Shape,
};
use std::{cell::RefCell, ops::Range};
use transforms::{POSITIONS, Sink, Source, Transforms, transform_filter, transforms};

/// Bytes of transformed input that stay in the second-level cache while weights stream through it.
const INPUT_BYTES: usize = 832 << 10;
/// The most tiles that are transformed before they are multiplied.
const MOST_TILES: usize = 128;
/// Floats between the blocks of two positions. Without them all sixteen would map to one set of the first-level cache,
/// which is less than sixteen-way associative.
const SKEW: usize = 16;
/// The fewest tiles of a block. With fewer, reading the weights costs more than the products, so panels are split instead.
const FEW_TILES: usize = 48;
/// Channels must be a multiple of this: whole vectors in every instruction set.
const CHANNELS: usize = 16;
/// With fewer channels, the transformations cost more than the products save.
const LEAST_CHANNELS: usize = 32;

thread_local! {
    /// Transformed inputs and products of the tiles of this thread.
    static SCRATCH: RefCell<Aligned> = RefCell::new(Aligned::zeroed(0));
}

pub(crate) struct Winograd {
    /// Words of a pixel's inputs.
    words: usize,
    /// A matrix `[inputs, outputs]` for each position.
    filters: Vec<Packed>,
    /// The convolution's bias, padded to whole vectors.
    bias: Aligned,
    transforms: &'static Transforms,
}

/// The grid of output tiles of an image.
struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn of(output: &Extent) -> Self {
        Self {
            rows: output.height.div_ceil(2),
            columns: output.width.div_ceil(2),
        }
    }

    fn an_image(&self) -> usize {
        self.rows * self.columns
    }

    /// The image, and row and column of the tile's first output.
    fn at(&self, tile: usize) -> (usize, usize, usize) {
        let (n, in_image) = (tile / self.an_image(), tile % self.an_image());
        (n, in_image / self.columns * 2, in_image % self.columns * 2)
    }
}

impl Winograd {
    /// Whether this method can compute the shape and is faster.
    pub(crate) fn suits(isa: Isa, shape: &Shape) -> bool {
        let channels = [shape.in_channels, shape.out_channels];
        let multiplies = match isa {
            Isa::Portable | Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 => true,
            // Transformed int8 inputs exceed 8 bits; matrix registers multiply faster than vectors transform.
            Isa::Avx512Vnni | Isa::AmxBf16 | Isa::AmxInt8 => false,
        };
        multiplies
            && shape.kernel == (3, 3)
            && shape.stride == 1
            && channels
                .iter()
                .all(|c| c % CHANNELS == 0 && *c >= LEAST_CHANNELS)
    }

    /// `weight` is `[out_channels, in_channels, 3, 3]`; the shape [suits](Self::suits).
    pub(crate) fn new(isa: Isa, weight: &[f32], bias: &[f32], shape: &Shape) -> Self {
        let (inputs, outputs) = (shape.in_channels, shape.out_channels);
        let transformed: Vec<[f32; POSITIONS]> =
            weight.chunks_exact(9).map(transform_filter).collect();
        let none = vec![0.0; outputs];
        let words = inputs * isa.precision().bytes() / WORD;
        let filters = (0..POSITIONS).map(|position| {
            let factor = |o: usize, i: usize| transformed[o * inputs + i][position];
            let word = |o: usize, k: usize| match isa.precision() {
                Precision::Bf16 => pair(factor(o, 2 * k), factor(o, 2 * k + 1)),
                _ => factor(o, k),
            };
            Packed::new((families_of_sums, isa), outputs, words, &none, word)
        });
        let mut padded = Aligned::zeroed(outputs);
        padded.as_mut_slice().copy_from_slice(bias);
        Self {
            words,
            filters: filters.collect(),
            bias: padded,
            transforms: transforms(isa),
        }
    }

    /// Cuts the tiles of `images` images into at most `wanted` chunks. Each group of panels transforms all its tiles
    /// again, so there are only as many groups as keep all threads busy.
    pub(crate) fn cut(&self, images: usize, output: &Extent, threads: usize, wanted: usize) -> Cut {
        let tiles = images * Tiles::of(output).an_image();
        let blocks = wanted.min((tiles / FEW_TILES).max(1));
        let threads = threads.min(wanted);
        // Equally many for every thread.
        let blocks = if blocks > threads {
            blocks / threads * threads
        } else {
            blocks
        };
        let groups = threads.div_ceil(blocks).min(self.filters[0].slices.len());
        Cut {
            units: tiles,
            blocks,
            groups,
        }
    }

    /// Computes `tiles`, in the output channels of group `group` of `groups`.
    ///
    /// # Safety
    /// As [`Conv2d::compute`](crate::Conv2d::compute).
    pub(crate) unsafe fn compute(
        &self,
        padding: usize,
        views: &Views,
        tiles: Range<usize>,
        (group, groups): (usize, usize),
    ) {
        let slices = &self.filters[0].slices;
        let slices = part(slices.len(), groups, group);
        let most = INPUT_BYTES / (POSITIONS * self.words * WORD);
        let most = most.clamp(6, MOST_TILES);
        let blocks = tiles.len().div_ceil(most);
        SCRATCH.with_borrow_mut(|scratch| {
            let floats = POSITIONS * (most * (self.words + WIDEST) + 2 * SKEW);
            if scratch.len() < floats {
                *scratch = Aligned::zeroed(floats);
            }
            for block in 0..blocks {
                let block = part(tiles.len(), blocks, block);
                let block = tiles.start + block.start..tiles.start + block.end;
                // SAFETY: the scratch holds the inputs and products of as many tiles; the rest is the
                // caller's promise.
                unsafe { self.compute_block(padding, views, block, slices.clone(), scratch) };
            }
        });
    }

    /// # Safety
    /// As [`Winograd::compute`]; `scratch` holds `POSITIONS * (words + WIDEST)` floats for each tile, and twice
    /// `POSITIONS * SKEW`.
    unsafe fn compute_block(
        &self,
        padding: usize,
        views: &Views,
        tiles: Range<usize>,
        slices: Range<usize>,
        scratch: &Aligned,
    ) {
        let (count, layout) = (tiles.len(), Tiles::of(&views.output.1));
        let inputs = scratch.pointer();
        // SAFETY: within the scratch, as the caller promises.
        let products = unsafe { inputs.add(POSITIONS * stride(count, self.words)) };
        for (number, tile) in tiles.clone().enumerate() {
            let (n, y, x) = layout.at(tile);
            let source = self.source(padding, views, (n, y, x));
            // SAFETY: `source` stays inside the input's extent; the tile's position in the scratch is its own.
            unsafe {
                let to = inputs.add(number * self.words);
                (self.transforms.input)(&source, to, stride(count, self.words));
            }
        }
        for slice in slices {
            // SAFETY: all sixteen matrices are cut alike; the scratch has room for a panel of products.
            unsafe { self.multiply(slice, count, inputs, products) };
            let slice = &self.filters[0].slices[slice];
            for (number, tile) in tiles.clone().enumerate() {
                let sink = self.sink(views, slice, layout.at(tile));
                // SAFETY: the sink's pixels lie inside the output's extent, and this chunk's channels there
                // are written by no other thread.
                unsafe {
                    let from = products.add(number * slice.family.width);
                    let stride = stride(count, slice.family.width);
                    (self.transforms.output)(from, stride, &sink);
                }
            }
        }
    }

    /// One panel of the sixteen products.
    ///
    /// # Safety
    /// `inputs` holds `count` transformed tiles, `products` has room for as many, a panel wide.
    unsafe fn multiply(&self, slice: usize, count: usize, inputs: *const f32, products: *mut f32) {
        let width = self.filters[0].slices[slice].family.width;
        let mut pixels = [Pixel::default(); MOST_TILES];
        for (tile, pixel) in pixels[..count].iter_mut().enumerate() {
            pixel.input = tile * self.words;
            pixel.output = tile * width;
        }
        for (position, filters) in self.filters.iter().enumerate() {
            let next = match self.filters.get(position + 1) {
                Some(next) => next.weights_of(&next.slices[slice]),
                None => self.filters[0].after(&filters.slices[slice]),
            };
            let slice = &filters.slices[slice];
            // SAFETY: each position has its own block of inputs and products; weights and bias lie within
            // their blocks.
            unsafe {
                let panel = Panel {
                    input: inputs.add(position * stride(count, self.words)),
                    weights: filters.weights_of(slice),
                    next,
                    runs: 1,
                    run_length: self.words,
                    run_stride: 0,
                    epilogue: Epilogue {
                        output: products.add(position * stride(count, width)).cast(),
                        residual: std::ptr::null(),
                        bias: filters.bias.pointer().add(slice.first),
                        scale: std::ptr::null(),
                        residual_factor: 1.0,
                        channels: width,
                        relu: false,
                    },
                };
                slice.family.compute(&panel, &pixels[..count]);
            }
        }
    }

    /// The inputs of a tile. Inputs beyond the border only affect outputs that don't exist, so the last row or column is
    /// read in their place.
    fn source(&self, padding: usize, views: &Views, (n, y, x): (usize, usize, usize)) -> Source {
        let (input, output) = (&views.input.1, &views.output.1);
        let inset = input.border - padding;
        let row = |i: usize| (y + i).min(output.height + 1) + inset;
        let column = |i: usize| (x + i).min(output.width + 1) + inset;
        Source {
            input: views.input.0,
            rows: std::array::from_fn(|i| n * input.stride + row(i) * input.row()),
            columns: std::array::from_fn(|i| column(i) * input.channels),
            channels: input.channels,
        }
    }

    /// The outputs of a tile.
    fn sink(&self, views: &Views, slice: &Slice, (n, y, x): (usize, usize, usize)) -> Sink {
        let output = &views.output.1;
        let residual = views.residual.as_ref();
        let extent = residual.map_or(output, |(_, extent)| extent);
        let at = |extent: &Extent, i: usize| extent.at(n, y + i / 2, x + i % 2) + slice.first;
        Sink {
            output: views.output.0,
            residual: residual.map_or(std::ptr::null(), |(start, _)| *start),
            // Within the block: a slice's channels are the outputs'.
            bias: self.bias.as_slice()[slice.first..].as_ptr(),
            outputs: std::array::from_fn(|i| at(output, i)),
            residuals: std::array::from_fn(|i| at(extent, i)),
            exists: std::array::from_fn(|i| y + i / 2 < output.height && x + i % 2 < output.width),
            channels: slice.family.width,
            relu: views.relu,
        }
    }
}

/// Words from the block of `count` tiles of one position to that of the next.
fn stride(count: usize, width: usize) -> usize {
    count * width + SKEW
}
