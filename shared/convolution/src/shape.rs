//! The dimensions of a convolution.

/// The dimensions of a convolution. `stride` and `padding` apply to height and width alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels of the output.
    pub out_channels: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Height and width.
    pub kernel: (usize, usize),
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Zeros on each side of the input, in pixels.
    pub padding: usize,
    /// Must be 1: grouped convolutions are not supported.
    pub groups: usize,
}
