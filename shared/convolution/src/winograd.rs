//! 3×3 convolutions of stride 1 by Winograd's minimal filtering F(2×2, 3×3): sixteen multiplications for four outputs
//! instead of thirty-six.
//!
//! A tile of 4×4 inputs and each filter are transformed by additions; their products at each of the sixteen places,
//! summed over the input channels, are sixteen matrix products; one more transformation gives the 2×2 outputs.
//! In bfloat16, transformed tiles and filters are rounded, and the products are summed and transformed in f32.
//! Formulas: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308, section 4.1.

use std::cell::RefCell;
use std::ops::Range;

use crate::aligned::Aligned;
use crate::cut::{Cut, part};
use crate::extent::{Extent, Views};
use crate::isa::Isa;
use crate::kernels::{Epilogue, Panel, Pixel, WIDEST, families_of_sums};
use crate::lanes::Lanes;
use crate::packing::{Packed, Slice, WORD, pair};
use crate::precision::Precision;
use crate::shape::Shape;

/// Products of a tile and a filter.
const PLACES: usize = 16;
/// Bytes of transformed input that stay in the second-level cache beside the weights that pass through it.
const INPUT_BYTES: usize = 832 << 10;
/// The most tiles that are transformed before they are multiplied.
const MOST_TILES: usize = 128;
/// Floats between one place's stretch and the next: without them all sixteen would fall into one set of the
/// first-level cache, which has fewer ways.
const SKEW: usize = 16;
/// Fewer tiles than these make reading the weights cost more than the products: then panels are split instead.
const FEW_TILES: usize = 48;
/// Channels come in multiples of this, so that no vector of any instruction set is cut.
const CHANNELS: usize = 16;
/// With fewer channels the transformations cost what the products save.
const LEAST_CHANNELS: usize = 32;

thread_local! {
    /// Transformed inputs and products of the tiles that this thread works on.
    static SCRATCH: RefCell<Aligned> = RefCell::new(Aligned::zeroed(0));
}

pub(crate) struct Winograd {
    /// Words of four bytes that hold a pixel's inputs.
    words: usize,
    /// A matrix `[inputs, outputs]` for each place.
    filters: Vec<Packed>,
    /// The convolution's, padded to whole vectors.
    bias: Aligned,
    transforms: &'static Transforms,
}

/// How the output's tiles lie.
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
    /// Whether this method can compute the shape, and is worth it.
    pub(crate) fn suits(isa: Isa, shape: &Shape) -> bool {
        let channels = [shape.in_channels, shape.out_channels];
        let multiplies = match isa {
            Isa::Portable | Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 => true,
            // Sums of transformed bytes exceed bytes; matrix registers multiply faster than vectors transform.
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
        let transformed: Vec<[f32; PLACES]> =
            weight.chunks_exact(9).map(transform_filter).collect();
        let none = vec![0.0; outputs];
        let words = inputs * isa.precision().bytes() / WORD;
        let filters = (0..PLACES).map(|place| {
            let factor = |o: usize, i: usize| transformed[o * inputs + i][place];
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

    /// Cuts the work on `images` images into `wanted` chunks or fewer, of tiles. Each group of panels transforms all
    /// tiles for itself, so there are no more of them than keep all threads busy.
    pub(crate) fn cut(&self, images: usize, output: &Extent, threads: usize, wanted: usize) -> Cut {
        let tiles = images * Tiles::of(output).an_image();
        let blocks = wanted.min((tiles / FEW_TILES).max(1));
        let threads = threads.min(wanted);
        // As many for every thread.
        let blocks = match blocks > threads {
            true => blocks / threads * threads,
            false => blocks,
        };
        let groups = threads.div_ceil(blocks).min(self.filters[0].slices.len());
        Cut {
            units: tiles,
            blocks,
            groups,
        }
    }

    /// Computes the tiles `tiles`, the channels of group `group` of `groups`.
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
        let most = INPUT_BYTES / (PLACES * self.words * WORD);
        let most = most.clamp(6, MOST_TILES);
        let blocks = tiles.len().div_ceil(most);
        SCRATCH.with_borrow_mut(|scratch| {
            let floats = PLACES * (most * (self.words + WIDEST) + 2 * SKEW);
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
    /// As [`Winograd::compute`]; `scratch` holds `PLACES * (words + WIDEST)` floats for each tile, and twice
    /// `PLACES * SKEW`.
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
        let products = unsafe { inputs.add(PLACES * stride(count, self.words)) };
        for (number, tile) in tiles.clone().enumerate() {
            let (n, y, x) = layout.at(tile);
            let source = self.source(padding, views, (n, y, x));
            // SAFETY: `source` stays inside the input's extent; the tile's place in the scratch is its own.
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
                // are nobody else's.
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
        for (place, filters) in self.filters.iter().enumerate() {
            let next = match self.filters.get(place + 1) {
                Some(next) => next.weights_of(&next.slices[slice]),
                None => self.filters[0].after(&filters.slices[slice]),
            };
            let slice = &filters.slices[slice];
            // SAFETY: each place has its own stretch of inputs and products; weights and bias lie within
            // their blocks.
            unsafe {
                let panel = Panel {
                    input: inputs.add(place * stride(count, self.words)),
                    weights: filters.weights_of(slice),
                    next,
                    runs: 1,
                    run_length: self.words,
                    run_stride: 0,
                    epilogue: Epilogue {
                        output: products.add(place * stride(count, width)).cast(),
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

    /// Where a tile's inputs lie. What would lie beyond the border feeds only outputs that don't exist, so the last
    /// row or column is read again instead.
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

    /// Where a tile's outputs go.
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

/// Words from one place's stretch of `count` tiles to the next one's.
fn stride(count: usize, width: usize) -> usize {
    count * width + SKEW
}

/// `G g Gᵀ`, by rows.
fn transform_filter(filter: &[f32]) -> [f32; PLACES] {
    let line = |a: f32, b: f32, c: f32| [a, (a + b + c) * 0.5, (a - b + c) * 0.5, c];
    let columns: [[f32; 4]; 3] =
        std::array::from_fn(|x| line(filter[x], filter[3 + x], filter[6 + x]));
    let mut transformed = [0.0; PLACES];
    for (y, row) in transformed.chunks_exact_mut(4).enumerate() {
        row.copy_from_slice(&line(columns[0][y], columns[1][y], columns[2][y]));
    }
    transformed
}

/// A tile's 4×4 inputs: element (i, j) of channel c lies at `rows[i] + columns[j] + c`.
struct Source {
    input: *const u8,
    rows: [usize; 4],
    columns: [usize; 4],
    channels: usize,
}

/// A tile's 2×2 outputs, those that exist, for `channels` channels.
struct Sink {
    output: *mut u8,
    /// Null where nothing is added.
    residual: *const u8,
    bias: *const f32,
    outputs: [usize; 4],
    residuals: [usize; 4],
    exists: [bool; 4],
    channels: usize,
    relu: bool,
}

/// The transformations for one instruction set, whose presence the caller vouches for.
struct Transforms {
    /// Writes the tile's place p at `to + p * stride` words; reads and writes as [`Source`] says.
    input: unsafe fn(source: &Source, to: *mut f32, stride: usize),
    /// Reads the tile's place p at `from + p * stride`; writes as [`Sink`] says.
    output: unsafe fn(from: *const f32, stride: usize, sink: &Sink),
}

/// `Bᵀ d B`.
///
/// # Safety
/// The processor has the instruction set; the source can be read; `channels` floats can be written at each place.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // plain indices are what the compiler turns into registers
unsafe fn transform_input<L: Lanes>(source: &Source, to: *mut f32, stride: usize) {
    // SAFETY: as the caller promises; channels are a multiple of every vector's length.
    unsafe {
        for c in (0..source.channels).step_by(L::COUNT) {
            let line = |d: [L::Vector; 4]| {
                [
                    L::subtract(d[0], d[2]),
                    L::add(d[1], d[2]),
                    L::subtract(d[2], d[1]),
                    L::subtract(d[1], d[3]),
                ]
            };
            let mut columns = [[L::zero(); 4]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                let at = source.input.cast::<L::Stored>().add(source.columns[j] + c);
                *column = line(source.rows.map(|row| L::read(at.add(row))));
            }
            for i in 0..4 {
                let row = line([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for (j, value) in row.into_iter().enumerate() {
                    let to = to.add((4 * i + j) * stride).cast::<L::Stored>();
                    L::write(value, to.add(c));
                }
            }
        }
    }
}

/// `Aᵀ m A`, then bias, residual and ReLU.
///
/// # Safety
/// The processor has the instruction set; `channels` floats can be read at each place, and at the sink's bias and
/// residuals, and written at its outputs.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
unsafe fn transform_output<L: Lanes>(from: *const f32, stride: usize, sink: &Sink) {
    // SAFETY: as the caller promises; panels are whole vectors.
    unsafe {
        for c in (0..sink.channels).step_by(L::COUNT) {
            let line = |m: [L::Vector; 4]| {
                let middle = L::add(m[1], m[2]);
                [
                    L::add(m[0], middle),
                    L::subtract(L::subtract(m[1], m[2]), m[3]),
                ]
            };
            let mut rows = [[L::zero(); 4]; 2];
            for j in 0..4 {
                let at = |i: usize| L::load(from.add((4 * i + j) * stride + c));
                let [first, second] = line([at(0), at(1), at(2), at(3)]);
                rows[0][j] = first;
                rows[1][j] = second;
            }
            let bias = L::load(sink.bias.add(c));
            for (i, row) in rows.into_iter().enumerate() {
                for (j, value) in line(row).into_iter().enumerate() {
                    let pixel = 2 * i + j;
                    if sink.exists[pixel] {
                        let mut value = L::add(value, bias);
                        if !sink.residual.is_null() {
                            let from = sink.residual.cast::<L::Stored>();
                            let from = from.add(sink.residuals[pixel] + c);
                            value = L::add(value, L::read(from));
                        }
                        if sink.relu {
                            value = L::relu(value);
                        }
                        let to = sink.output.cast::<L::Stored>();
                        L::write(value, to.add(sink.outputs[pixel] + c));
                    }
                }
            }
        }
    }
}

macro_rules! transforms {
    ($table:ident, $module:ident, $lanes:path, [$($feature:literal)?]) => {
        mod $module {
            use super::{Sink, Source, transform_input, transform_output};

            /// # Safety
            /// See [`super::transform_input`].
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn input(source: &Source, to: *mut f32, stride: usize) {
                // SAFETY: as the caller promises.
                unsafe { transform_input::<$lanes>(source, to, stride) }
            }

            /// # Safety
            /// See [`super::transform_output`].
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn output(from: *const f32, stride: usize, sink: &Sink) {
                // SAFETY: as the caller promises.
                unsafe { transform_output::<$lanes>(from, stride, sink) }
            }
        }

        static $table: Transforms = Transforms { input: $module::input, output: $module::output };
    };
}

transforms!(PORTABLE, portable, crate::lanes::Plain, []);
#[cfg(target_arch = "x86_64")]
transforms!(AVX2, avx2, crate::lanes::Avx2, ["avx2,fma"]);
#[cfg(target_arch = "x86_64")]
transforms!(AVX512, avx512, crate::lanes::Avx512, ["avx512f"]);
#[cfg(target_arch = "x86_64")]
transforms!(BF16, bf16, crate::lanes::Avx512Bf16, ["avx512f,avx512bf16"]);

fn transforms(isa: Isa) -> &'static Transforms {
    match isa {
        Isa::Portable => &PORTABLE,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => &BF16,
        _ => &PORTABLE,
    }
}
