//! The backend of Candle's own operations, channels first, for every device that Candle supports.

use crate::layers::{self, Filter};
use candle_core::{DType, Device, Error, Result, Tensor};
use sightline_manifest::Preprocessing;

/// The index of a step; 0 is the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node(usize);

struct Step {
    input: usize,
    operation: Operation,
}

enum Operation {
    Convolution {
        weight: Tensor,
        bias: Tensor,
        stride: usize,
        groups: usize,
        residual: Option<usize>,
        relu: bool,
    },
    MaxPool,
    GlobalAverage,
    /// [channels, classes].
    Classifier {
        transposed: Tensor,
        bias: Tensor,
    },
}

impl Step {
    fn reads(&self) -> [Option<usize>; 2] {
        let residual = match self.operation {
            Operation::Convolution { residual, .. } => residual,
            _ => None,
        };
        [Some(self.input), residual]
    }
}

pub(crate) struct Layers {
    steps: Vec<Step>,
    scale: Scale,
    device: Device,
}

/// value · factor + offset for each channel, both [1, 3, 1, 1].
struct Scale {
    factor: Tensor,
    offset: Tensor,
}

impl Layers {
    pub(crate) fn new(preprocessing: &Preprocessing, device: &Device) -> Result<Self> {
        let Preprocessing { mean, std, .. } = preprocessing;
        let channel = |value: fn(f32, f32) -> f32| {
            let values = [0, 1, 2].map(|c| value(mean[c], std[c]));
            Tensor::from_slice(&values, (1, 3, 1, 1), device)
        };
        let scale = Scale {
            factor: channel(|_, std| 1.0 / (255.0 * std))?,
            offset: channel(|mean, std| -mean / std)?,
        };
        Ok(Self {
            steps: Vec::new(),
            scale,
            device: device.clone(),
        })
    }

    pub(crate) fn build(self, output: Node) -> Program {
        let Self {
            steps,
            scale,
            device,
        } = self;
        let mut last_use: Vec<usize> = (0..=steps.len()).collect();
        for (number, step) in steps.iter().enumerate() {
            for read in step.reads().into_iter().flatten() {
                last_use[read] = number;
            }
        }
        last_use[output.0] = usize::MAX;
        Program {
            steps,
            last_use,
            output: output.0,
            scale,
            device,
        }
    }

    fn push(&mut self, input: Node, operation: Operation) -> Node {
        self.steps.push(Step {
            input: input.0,
            operation,
        });
        Node(self.steps.len())
    }
}

impl layers::Layers for Layers {
    type Node = Node;

    fn input(&self) -> Node {
        Node(0)
    }

    fn convolution(
        &mut self,
        x: Node,
        filter: Filter,
        residual: Option<Node>,
        relu: bool,
    ) -> Result<Node> {
        let Filter {
            name: _,
            weight,
            bias,
            inputs,
            kernel,
            stride,
            groups,
        } = filter;
        let outputs = bias.len();
        let weight = Tensor::from_vec(
            weight,
            (outputs, inputs / groups, kernel, kernel),
            &self.device,
        )?;
        let bias = Tensor::from_vec(bias, (1, outputs, 1, 1), &self.device)?;
        let residual = residual.map(|node| node.0);
        Ok(self.push(
            x,
            Operation::Convolution {
                weight,
                bias,
                stride,
                groups,
                residual,
                relu,
            },
        ))
    }

    fn max_pool(&mut self, x: Node) -> Result<Node> {
        Ok(self.push(x, Operation::MaxPool))
    }

    fn global_average(&mut self, x: Node) -> Result<Node> {
        Ok(self.push(x, Operation::GlobalAverage))
    }

    fn classifier(&mut self, x: Node, weight: Vec<f32>, bias: Vec<f32>) -> Result<Node> {
        let (classes, channels) = (bias.len(), weight.len() / bias.len());
        let transposed = Tensor::from_vec(weight, (classes, channels), &self.device)?
            .t()?
            .contiguous()?;
        let bias = Tensor::from_vec(bias, classes, &self.device)?;
        Ok(self.push(x, Operation::Classifier { transposed, bias }))
    }
}

/// The layers in order. A layer's output is dropped after its last use.
pub(crate) struct Program {
    steps: Vec<Step>,
    /// For each node, the last step that reads it.
    last_use: Vec<usize>,
    output: usize,
    scale: Scale,
    device: Device,
}

impl Program {
    pub(crate) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mut nodes = vec![None; self.steps.len() + 1];
        nodes[0] = Some(self.normalised(images)?);
        for (number, step) in self.steps.iter().enumerate() {
            let y = step.forward(&nodes)?;
            nodes[number + 1] = Some(y);
            for read in step
                .reads()
                .into_iter()
                .flatten()
                .filter(|read| self.last_use[*read] == number)
            {
                nodes[read] = None;
            }
        }
        nodes
            .swap_remove(self.output)
            .ok_or_else(|| Error::msg("the network has no output"))
    }

    fn normalised(&self, images: &Tensor) -> Result<Tensor> {
        let x = images.to_device(&self.device)?;
        if x.dtype() == DType::F32 {
            return Ok(x);
        }
        x.to_dtype(DType::F32)?
            .broadcast_mul(&self.scale.factor)?
            .broadcast_add(&self.scale.offset)
    }
}

impl Step {
    fn forward(&self, nodes: &[Option<Tensor>]) -> Result<Tensor> {
        let node = |n: usize| {
            nodes[n]
                .as_ref()
                .ok_or_else(|| Error::msg("a layer's input is gone"))
        };
        let x = node(self.input)?;
        match &self.operation {
            Operation::Convolution {
                weight,
                bias,
                stride,
                groups,
                residual,
                relu,
            } => {
                let padding = weight.dim(2)? / 2;
                let mut y = x
                    .conv2d(weight, padding, *stride, 1, *groups)?
                    .broadcast_add(bias)?;
                if let Some(residual) = residual {
                    y = (y + node(*residual)?)?;
                }
                if *relu { y.relu() } else { Ok(y) }
            }
            // The input follows a ReLU, so padding with zeros changes no maximum.
            Operation::MaxPool => x
                .pad_with_zeros(2, 1, 1)?
                .pad_with_zeros(3, 1, 1)?
                .max_pool2d_with_stride(3, 2),
            Operation::GlobalAverage => x.mean((2, 3)),
            Operation::Classifier { transposed, bias } => x.matmul(transposed)?.broadcast_add(bias),
        }
    }
}
