//! The steps of a network.

use crate::{
    convolution::Conv2d, extent::Extent, grid::Grid, pooling::Window, precision::Precision,
};

/// The result of a step of a [`Builder`](crate::Builder); valid for that builder only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(pub(crate) usize);

pub(crate) struct Step {
    pub(crate) input: Option<usize>,
    pub(crate) channels: usize,
    /// The number format of its result.
    pub(crate) precision: Precision,
    /// The quantization of its result, for int8.
    pub(crate) grid: Grid,
    pub(crate) operation: Operation,
}

pub(crate) enum Operation {
    Input,
    Convolution {
        convolution: Box<Conv2d>,
        residual: Option<usize>,
        relu: bool,
    },
    MaxPool(Window),
    Average,
}

impl Step {
    pub(crate) fn residual(&self) -> Option<usize> {
        match self.operation {
            Operation::Convolution { residual, .. } => residual,
            _ => None,
        }
    }

    /// A name, and the multiplications for one image whose result has `extent`.
    pub(crate) fn describe(&self, extent: &Extent) -> (String, usize) {
        let Extent { height, width, .. } = *extent;
        match &self.operation {
            Operation::Input => (format!("input {height}×{width}"), 0),
            Operation::MaxPool(_) => (format!("max-pool to {height}×{width}"), 0),
            Operation::Average => ("average".into(), 0),
            Operation::Convolution {
                convolution,
                residual,
                ..
            } => {
                let shape = convolution.shape();
                let (kh, kw) = shape.kernel;
                let (inputs, outputs, stride) =
                    (shape.in_channels, shape.out_channels, shape.stride);
                let plus = if residual.is_some() {
                    " + residual"
                } else {
                    ""
                };
                let name =
                    format!("{kh}×{kw}/{stride} {inputs}→{outputs} to {height}×{width}{plus}");
                (name, extent.pixels() * outputs * inputs * kh * kw)
            }
        }
    }
}
