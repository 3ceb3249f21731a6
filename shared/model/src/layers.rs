//! The interface between the description of a ResNet and the two backends that compute it.

use candle_core::Result;

/// A square convolution with batch norm folded in, padded by half its kernel.
pub(crate) struct Filter {
    /// The convolution's name in the weights.
    pub name: String,
    /// `[outputs, inputs / groups, kernel, kernel]`, row-major.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub inputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
}

/// A backend: builds a network layer by layer.
pub(crate) trait Layers {
    /// The output of a layer.
    type Node: Copy;

    /// The normalised images.
    fn input(&self) -> Self::Node;

    /// `x` convolved, plus `residual` if any, followed by ReLU if `relu`.
    fn convolution(
        &mut self,
        x: Self::Node,
        filter: Filter,
        residual: Option<Self::Node>,
        relu: bool,
    ) -> Result<Self::Node>;

    /// 3×3 max-pooling with stride 2 and padding 1, over values of at least zero.
    fn max_pool(&mut self, x: Self::Node) -> Result<Self::Node>;

    /// The mean of each channel over all pixels.
    fn global_average(&mut self, x: Self::Node) -> Result<Self::Node>;

    /// The logits: `weight * x + bias`; `weight` is `[classes, channels]`, row-major.
    fn classifier(&mut self, x: Self::Node, weight: Vec<f32>, bias: Vec<f32>)
    -> Result<Self::Node>;
}
