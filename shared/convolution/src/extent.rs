//! Where the pixels of an activation lie: channels-last, with a border of zeros (of bytes: the
//! byte that stands for zero) that the next convolution's padding reads, so that no kernel knows about edges.

/// The layout of one image's activation. `border` zeros surround it on all four sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// As they lie in memory.
    pub(crate) channels: usize,
    pub(crate) border: usize,
    /// Numbers from one image to the next in the buffer that holds them; at least an image's own.
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

    /// Where the first pixel inside the border lies.
    pub(crate) fn origin(&self) -> usize {
        self.border * (self.row() + self.channels)
    }

    /// Pixels of an image, the border left out.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Where pixel (`y`, `x`) of image `n` lies.
    pub(crate) fn at(&self, n: usize, y: usize, x: usize) -> usize {
        n * self.stride + self.origin() + y * self.row() + x * self.channels
    }
}

/// The activations that a convolution reads and writes, all of its precision.
pub(crate) struct Views {
    pub(crate) input: (*const u8, Extent),
    pub(crate) output: (*mut u8, Extent),
    pub(crate) residual: Option<(*const u8, Extent)>,
    pub(crate) relu: bool,
}
