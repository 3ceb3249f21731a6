//! Max-pooling and the global average, on channels-last activations.

use crate::{element::Element, extent::Extent, grid::Grid};

/// The window of a pooling, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Pixels of a side.
    pub size: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Pixels outside the image count as minus infinity; at most half the size.
    pub padding: usize,
}

impl Window {
    /// Output size for an input size; `None` if the window exceeds the padded input.
    pub(crate) fn output(&self, input: usize) -> Option<usize> {
        let last = (input + 2 * self.padding).checked_sub(self.size)?;
        Some(last / self.stride + 1)
    }

    /// The inputs in the window of output `at`.
    fn over(&self, at: usize, input: usize) -> std::ops::Range<usize> {
        let start = at * self.stride;
        let end = (start + self.size).saturating_sub(self.padding).min(input);
        start.saturating_sub(self.padding)..end
    }

    /// Computes row `y` of an output image into `to` (`width * channels` floats) from one input image.
    pub(crate) fn max_row<E: Element>(&self, input: &[E], extent: &Extent, y: usize, to: &mut [E]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { self.max_row_avx2(input, extent, y, to) };
        }
        self.max_row_anywhere(input, extent, y, to);
    }

    /// # Safety
    /// The processor has AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn max_row_avx2<E: Element>(
        &self,
        input: &[E],
        extent: &Extent,
        y: usize,
        to: &mut [E],
    ) {
        self.max_row_anywhere(input, extent, y, to);
    }

    #[inline(always)]
    fn max_row_anywhere<E: Element>(&self, input: &[E], extent: &Extent, y: usize, to: &mut [E]) {
        let rows = self.over(y, extent.height);
        for (x, to) in to.chunks_exact_mut(extent.channels).enumerate() {
            to.fill(E::LEAST);
            for row in rows.clone() {
                let columns = self.over(x, extent.width);
                let start = extent.at(0, row, columns.start);
                let pixels = &input[start..start + columns.len() * extent.channels];
                for pixel in pixels.chunks_exact(extent.channels) {
                    for (to, &value) in to.iter_mut().zip(pixel) {
                        *to = to.larger(value);
                    }
                }
            }
        }
    }
}

/// The mean of each channel over an image's pixels, which are quantized on `grid`.
pub(crate) fn average<E: Element>(input: &[E], extent: &Extent, grid: Grid, to: &mut [f32]) {
    to.fill(0.0);
    for y in 0..extent.height {
        let start = extent.at(0, y, 0);
        let row = &input[start..start + extent.width * extent.channels];
        for pixel in row.chunks_exact(extent.channels) {
            for (to, value) in to.iter_mut().zip(pixel) {
                *to += value.value();
            }
        }
    }
    let scale = 1.0 / extent.pixels() as f32;
    for to in to {
        *to = grid.value(*to * scale);
    }
}
