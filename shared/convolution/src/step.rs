//! The steps that a network is made of.

use crate::convolution::Conv2d;
use crate::extent::Extent;
use crate::grid::Grid;
use crate::pooling::Window;
use crate::precision::Precision;

/// The result of a step, as [`Builder`](crate::Builder) hands it out; good for the builder that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(pub(crate) usize);

pub(crate) struct Step {
    pub(crate) input: Option<usize>,
    pub(crate) channels: usize,
    /// Of its result.
    pub(crate) precision: Precision,
    /// What its result's bytes stand for.
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

    /// A name, and the multiplications for one image whose result has that extent.
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
