//! The builder of a network.

use crate::{
    convolution::Conv2d,
    error::{Error, expect},
    grid::Grid,
    input::{Normalisation, Scaling},
    pooling::Window,
    precision::Precision,
    program::Program,
    shape::Shape,
    step::{Node, Operation, Step},
    threads::Threads,
};
use std::sync::Arc;

/// Builds a network step by step.
///
/// Methods return [`Error::Size`] if channels disagree, and [`Error::Unsupported`] for a node of another builder,
/// mixed precisions or mismatched grids.
pub struct Builder {
    steps: Vec<Step>,
    scaling: Scaling,
}

impl Builder {
    /// A network over images of `channels` channels, with its first convolutions in `precision`.
    pub fn new(
        channels: usize,
        normalisation: Normalisation,
        precision: Precision,
    ) -> Result<Self, Error> {
        let (scaling, grid) = Scaling::new(channels, &normalisation, precision)?;
        let input = Step {
            input: None,
            channels,
            precision,
            grid,
            operation: Operation::Input,
        };
        Ok(Self {
            steps: vec![input],
            scaling,
        })
    }

    /// The normalised images.
    pub fn input(&self) -> Node {
        Node(0)
    }

    /// The quantization of a node's result; meaningful for int8 only.
    pub fn grid(&self, node: Node) -> Result<Grid, Error> {
        let step = self.steps.get(node.0);
        step.map(|step| step.grid)
            .ok_or_else(|| Error::Unsupported(format!("{node:?} of another network")))
    }

    /// `relu(convolution(x) + residual)`; residual and ReLU are optional.
    pub fn convolution(
        &mut self,
        x: Node,
        convolution: Conv2d,
        residual: Option<Node>,
        relu: bool,
    ) -> Result<Node, Error> {
        let (shape, precision) = (*convolution.shape(), convolution.precision());
        expect("convolution's input", shape.in_channels, self.channels(x)?)?;
        if let Some(residual) = residual {
            expect("residual", shape.out_channels, self.channels(residual)?)?;
        }
        let read = [Some(x), residual];
        let other = |node: &Node| self.steps[node.0].precision != precision;
        if read.into_iter().flatten().any(|node| other(&node)) {
            let text =
                format!("a convolution in {precision:?} of activations in another precision");
            return Err(Error::Unsupported(text));
        }
        let grid = match convolution.grids() {
            None => Grid::PLAIN,
            Some(grids) => {
                let residual_grid = residual.map(|node| self.grid(node)).transpose()?;
                if (grids.input, grids.residual) != (self.grid(x)?, residual_grid) {
                    let text = "an int8 convolution on other grids than its inputs'";
                    return Err(Error::Unsupported(text.into()));
                }
                if relu && grids.output.zero > 0 {
                    let text = "a rectified result on a grid with negative values";
                    return Err(Error::Unsupported(text.into()));
                }
                grids.output
            }
        };
        let operation = Operation::Convolution {
            convolution: Box::new(convolution),
            residual: residual.map(|node| node.0),
            relu,
        };
        Ok(self.push(x, shape.out_channels, (precision, grid), operation))
    }

    /// The largest value of each window.
    pub fn max_pool(&mut self, x: Node, window: Window) -> Result<Node, Error> {
        if window.stride == 0 || window.size == 0 || window.padding > window.size / 2 {
            return Err(Error::Unsupported(format!("max-pool of {window:?}")));
        }
        let channels = self.channels(x)?;
        let Step {
            precision, grid, ..
        } = self.steps[x.0];
        Ok(self.push(x, channels, (precision, grid), Operation::MaxPool(window)))
    }

    /// The mean of each channel over all pixels: an image of one pixel, in f32.
    pub fn global_average(&mut self, x: Node) -> Result<Node, Error> {
        let channels = self.channels(x)?;
        let plain = (Precision::F32, Grid::PLAIN);
        Ok(self.push(x, channels, plain, Operation::Average))
    }

    /// `weight * x + bias` at each pixel, in f32; `weight` is `[outputs, inputs]`, row-major.
    pub fn linear(&mut self, x: Node, weight: &[f32], bias: &[f32]) -> Result<Node, Error> {
        let shape = Shape {
            out_channels: bias.len(),
            in_channels: self.channels(x)?,
            kernel: (1, 1),
            stride: 1,
            padding: 0,
            groups: 1,
        };
        let convolution = Conv2d::new(weight, bias, shape)?;
        self.convolution(x, convolution, None, false)
    }

    /// The program that computes `output` on `threads`. `output` must be the last step.
    pub fn build(self, output: Node, threads: Arc<Threads>) -> Result<Program, Error> {
        if output.0 + 1 != self.steps.len() {
            return Err(Error::Unsupported("an output before the last step".into()));
        }
        Ok(Program::new(self.steps, self.scaling, threads))
    }

    fn channels(&self, node: Node) -> Result<usize, Error> {
        let step = self.steps.get(node.0);
        step.map(|step| step.channels)
            .ok_or_else(|| Error::Unsupported(format!("{node:?} of another network")))
    }

    fn push(
        &mut self,
        x: Node,
        channels: usize,
        (precision, grid): (Precision, Grid),
        operation: Operation,
    ) -> Node {
        self.steps.push(Step {
            input: Some(x.0),
            channels,
            precision,
            grid,
            operation,
        });
        Node(self.steps.len() - 1)
    }
}
