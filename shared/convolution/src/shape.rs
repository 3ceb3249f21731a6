//! The sizes of a convolution.

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
