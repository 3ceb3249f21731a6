//! The network as one Candle operation of fused, channels-last convolutions.

use crate::{
    layers::{self, Filter},
    manifest::Preprocessing,
};
use candle_core::{Error, Result};
use sightline_convolution::{
    Builder, Conv2d, Isa, Node, Normalisation, Precision, Program, Shape, Threads, Window,
};

pub(crate) struct Layers {
    net: Builder,
    isa: Isa,
}

impl Layers {
    /// Fails where the processor has no instructions for the precision.
    pub fn new(preprocessing: &Preprocessing, precision: Precision) -> Result<Self> {
        let Some(isa) = Isa::of(precision) else {
            candle_core::bail!(
                "{precision} is not what this processor multiplies: it lacks AVX512-BF16"
            );
        };
        let normalisation = Normalisation {
            mean: preprocessing.mean.to_vec(),
            std: preprocessing.std.to_vec(),
        };
        let net = Builder::new(3, normalisation, isa.precision()).map_err(Error::wrap)?;
        Ok(Self { net, isa })
    }

    pub fn build(self, output: Node, threads: usize) -> Result<Program> {
        self.net
            .build(output, Threads::new(threads))
            .map_err(Error::wrap)
    }
}

impl layers::Layers for Layers {
    type Node = Node;

    fn input(&self) -> Node {
        self.net.input()
    }

    fn convolution(
        &mut self,
        x: Node,
        filter: Filter,
        residual: Option<Node>,
        relu: bool,
    ) -> Result<Node> {
        let Filter {
            weight,
            bias,
            inputs,
            kernel,
            stride,
            groups,
        } = filter;
        let shape = Shape {
            out_channels: bias.len(),
            in_channels: inputs,
            kernel: (kernel, kernel),
            stride,
            padding: kernel / 2,
            groups,
        };
        let convolution = Conv2d::for_isa(self.isa, &weight, &bias, shape).map_err(Error::wrap)?;
        self.net
            .convolution(x, convolution, residual, relu)
            .map_err(Error::wrap)
    }

    fn max_pool(&mut self, x: Node) -> Result<Node> {
        self.net
            .max_pool(
                x,
                Window {
                    size: 3,
                    stride: 2,
                    padding: 1,
                },
            )
            .map_err(Error::wrap)
    }

    fn global_average(&mut self, x: Node) -> Result<Node> {
        self.net.global_average(x).map_err(Error::wrap)
    }

    fn classifier(&mut self, x: Node, weight: Vec<f32>, bias: Vec<f32>) -> Result<Node> {
        self.net.linear(x, &weight, &bias).map_err(Error::wrap)
    }
}
