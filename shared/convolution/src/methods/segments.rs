//! How a convolution is cut for matrix registers: output pixels into segments of up to sixteen neighbours with inputs
//! evenly spaced in memory, and inner products into steps of up to sixteen words.

use crate::{
    cut::Cut,
    extent::Extent,
    kernels::{SIDE, WORD},
    shape::Shape,
};

/// The fewest words of a step: shorter ones would leave most of each register empty.
const LEAST_WORDS: usize = 4;
/// Bytes of input that a block of segments may span, to stay in the second-level cache beside the weights.
const INPUT_BYTES: usize = 768 << 10;

/// How the inner product over a pixel's inputs is cut into steps, and the order of the steps.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    /// Words of a step.
    pub(crate) words: usize,
    pub(crate) count: usize,
    /// Taps of the kernel that are interleaved; 1 if the steps are in the order of their inputs in memory.
    taps: usize,
}

impl Steps {
    /// The longest steps that divide a kernel row, for a kernel of `taps` taps of `words` words, `across` taps in a row.
    /// `None` if they would be too short.
    pub(crate) fn of((taps, across): (usize, usize), words: usize) -> Option<Self> {
        let run = across * words;
        let step = (LEAST_WORDS..=SIDE)
            .rev()
            .find(|step| run.is_multiple_of(*step))?;
        Some(Self {
            words: step,
            count: taps * words / step,
            taps: if words.is_multiple_of(step) { taps } else { 1 },
        })
    }

    /// The index, in the order of the inputs, of the step at position `number`. Steps of the same channels follow each
    /// other, since neighbouring taps share most of their pixels.
    pub(crate) fn at(&self, number: usize) -> usize {
        number % self.taps * (self.count / self.taps) + number / self.taps
    }

    /// For each step, the offset of its inputs from the pixel's first input, in bytes, for a kernel of `runs` rows. `row`
    /// and `pixel` are the bytes from one row and one pixel to the next; pixels that share a step are adjacent.
    pub(crate) fn offsets(
        self,
        runs: usize,
        (row, pixel): (usize, usize),
    ) -> impl Iterator<Item = u32> {
        let in_run = self.count / runs;
        let in_span = if self.by_tap() {
            self.count / self.taps
        } else {
            in_run
        };
        (0..self.count).map(move |number| {
            let step = self.at(number);
            let (run, in_run) = (step / in_run, step % in_run);
            let (tap, in_span) = (in_run / in_span, in_run % in_span);
            (run * row + tap * pixel + in_span * self.words * WORD) as u32
        })
    }

    /// Whether the kernel's taps are read one by one, so that there may be a gap between pixels.
    pub(crate) fn by_tap(&self) -> bool {
        self.taps > 1
    }

    /// The index of the input word that is multiplied at position `number`.
    pub(crate) fn word(&self, number: usize) -> usize {
        self.at(number / self.words) * self.words + number % self.words
    }
}

/// Spans of output pixels with evenly spaced inputs. With a stride of 1, an image is one span: pixels are numbered along
/// the input's rows, borders included, and results for border positions are dropped. Else each row is a span.
pub(crate) struct Spans {
    /// Pixels of a span, dropped ones included.
    pixels: usize,
    /// Pixels from one output row to the next, in a span.
    pub(crate) pitch: usize,
    /// Spans of an image: one, or one a row.
    an_image: usize,
    /// Pixels of a segment.
    pub(crate) rows: usize,
}

/// Up to sixteen neighbours in a span.
pub(crate) struct Segment {
    pub(crate) image: usize,
    /// The span's first output row.
    pub(crate) y: usize,
    /// The index of its first pixel in the span. The last segment of a span overlaps the one before it.
    pub(crate) first: usize,
    /// Pixels that the segment before it computes.
    pub(crate) skipped: usize,
}

impl Spans {
    pub(crate) fn of(shape: &Shape, input: &Extent, output: &Extent) -> Self {
        let pitch = input.width + 2 * input.border;
        let (pixels, pitch, an_image) = match shape.stride {
            1 => ((output.height - 1) * pitch + output.width, pitch, 1),
            _ => (output.width, output.width, output.height),
        };
        Self {
            pixels,
            pitch,
            an_image,
            rows: pixels.min(SIDE),
        }
    }

    /// Segments of a span.
    fn segments(&self) -> usize {
        self.pixels.div_ceil(self.rows)
    }

    pub(crate) fn segment(&self, number: usize) -> Segment {
        let (span, segment) = (number / self.segments(), number % self.segments());
        let first = (segment * self.rows).min(self.pixels - self.rows);
        Segment {
            image: span / self.an_image,
            y: span % self.an_image,
            first,
            skipped: segment * self.rows - first,
        }
    }

    /// Cuts the work on `images` images into `wanted` chunks or a few more, equally many for each of `threads`, so that
    /// the least memory is read: every block reads all weights, and every group of panels all inputs.
    pub(crate) fn cut(
        &self,
        images: usize,
        (inputs, weights): (usize, usize),
        panels: usize,
        (wanted, threads): (usize, usize),
    ) -> Cut {
        let units = images * self.an_image * self.segments();
        let least = inputs.div_ceil(INPUT_BYTES);
        let cuts = (1..=panels.min(wanted)).map(|groups| {
            let blocks = wanted.div_ceil(groups).max(least);
            let blocks = match groups % threads {
                0 => blocks,
                _ => blocks.next_multiple_of(threads),
            };
            let blocks = blocks.min(units);
            (blocks * weights + groups * inputs, blocks, groups)
        });
        let (_, blocks, groups) = cuts.min().unwrap_or((0, 1, 1));
        Cut {
            units,
            blocks,
            groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_take_each_word_once_and_read_where_it_lies() {
        for (kernel, words) in [
            ((3, 3), 32),
            ((3, 3), 5),
            ((1, 1), 128),
            ((7, 7), 2),
            ((2, 3), 16),
        ] {
            let (height, width) = kernel;
            let steps = Steps::of((height * width, width), words).expect("long enough");
            let total = height * width * words;
            let taken: Vec<usize> = (0..total).map(|number| steps.word(number)).collect();
            let mut sorted = taken.clone();
            sorted.sort();
            assert_eq!(sorted, (0..total).collect::<Vec<_>>());
            // Rows of the input that are a little longer than the kernel's.
            let apart = if steps.by_tap() { words + 3 } else { words };
            let row = (width * apart + 9) * WORD;
            let offsets: Vec<u32> = steps.offsets(height, (row, apart * WORD)).collect();
            assert_eq!(offsets.len() * steps.words, total);
            for (number, word) in taken.iter().enumerate() {
                let (tap, k) = (word / words, word % words);
                let within = number % steps.words * WORD;
                let found = offsets[number / steps.words] as usize + within;
                assert_eq!(found, tap / width * row + (tap % width * apart + k) * WORD);
            }
        }
        assert!(Steps::of((1, 1), 3).is_none());
    }

    #[test]
    fn segments_hold_each_output_pixel_once() {
        for (height, width, border, stride) in [
            (14, 14, 1, 1),
            (7, 7, 0, 1),
            (5, 20, 1, 2),
            (3, 2, 0, 1),
            (1, 1, 0, 2),
        ] {
            let shape = Shape {
                out_channels: 1,
                in_channels: 1,
                kernel: (2 * border + 1, 2 * border + 1),
                stride,
                padding: border,
                groups: 1,
            };
            let extent = |height, width, border| Extent {
                height,
                width,
                channels: 1,
                border,
                stride: 0,
            };
            let input = extent(height * stride, width * stride, border);
            let spans = Spans::of(&shape, &input, &extent(height, width, 0));
            let cut = spans.cut(2, (1 << 20, 1 << 20), 8, (8, 2));
            let mut seen = vec![0; 2 * height * width];
            for number in 0..cut.units {
                let segment = spans.segment(number);
                for row in segment.skipped..spans.rows {
                    let at = segment.first + row;
                    let (y, x) = (segment.y + at / spans.pitch, at % spans.pitch);
                    if x < width {
                        seen[(segment.image * height + y) * width + x] += 1;
                    }
                }
            }
            assert!(
                seen.iter().all(|times| *times == 1),
                "{height}×{width}: {seen:?}"
            );
        }
    }
}
