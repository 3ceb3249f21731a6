//! The layout of an activation: channels-last, with a border that the next convolution reads as its padding, so that
//! no kernel handles edges. The border holds zeros, in int8 the zero point.

/// The layout of one image's activation, with a border of `border` pixels on all four sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Numbers from one pixel to the next in memory.
    pub(crate) channels: usize,
    pub(crate) border: usize,
    /// Numbers from one image to the next in the buffer; at least [`Extent::image`].
    pub(crate) stride: usize,
}

impl Extent {
    /// Numbers from one row to the next.
    pub(crate) fn row(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Numbers of an image, the border included.
    pub(crate) fn image(&self) -> usize {
        (self.height + 2 * self.border) * self.row()
    }

    /// The index of the first pixel inside the border.
    pub(crate) fn origin(&self) -> usize {
        self.border * (self.row() + self.channels)
    }

    /// Pixels of an image, the border left out.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The index of pixel (`y`, `x`) of image `n`.
    pub(crate) fn at(&self, n: usize, y: usize, x: usize) -> usize {
        n * self.stride + self.origin() + y * self.row() + x * self.channels
    }
}

/// The activations that a convolution reads and writes: start and extent, all in its precision.
pub(crate) struct Views {
    pub(crate) input: (*const u8, Extent),
    pub(crate) output: (*mut u8, Extent),
    pub(crate) residual: Option<(*const u8, Extent)>,
    pub(crate) relu: bool,
}
