//! The seam between the network and what computes it: the layers of a ResNet, which two backends know.

use candle_core::Result;

/// A square convolution as it is in the weights, batch norm folded in, padded so that stride 1 keeps the size.
pub(crate) struct Filter {
    /// The convolution's, in the weights.
    pub name: String,
    /// Output channel, input channel of the group, row, column.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub inputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
}

/// Takes the description of a network, layer by layer.
pub(crate) trait Layers {
    /// The output of a layer.
    type Node: Copy;

    /// The images, normalised.
    fn input(&self) -> Self::Node;

    /// `x` convolved, plus `residual` if any, rectified if asked.
    fn convolution(
        &mut self,
        x: Self::Node,
        filter: Filter,
        residual: Option<Self::Node>,
        relu: bool,
    ) -> Result<Self::Node>;

    /// 3×3 maximum with stride 2 and padding 1, over rectified values.
    fn max_pool(&mut self, x: Self::Node) -> Result<Self::Node>;

    /// The mean over all positions.
    fn global_average(&mut self, x: Self::Node) -> Result<Self::Node>;

    /// `weight` is [classes, channels].
    fn classifier(&mut self, x: Self::Node, weight: Vec<f32>, bias: Vec<f32>)
    -> Result<Self::Node>;
}
