//! The network as one Candle operation of fused, channels-last convolutions.

use crate::{
    layers::{self, Filter},
    manifest::Preprocessing,
};
use candle_core::{Error, Result};
use sightline_convolution::{
    Builder, Conv2d, Node, Normalisation, Program, Shape, Threads, Window,
};

pub(crate) struct Layers(Builder);

impl Layers {
    pub fn new(preprocessing: &Preprocessing) -> Result<Self> {
        let normalisation = Normalisation {
            mean: preprocessing.mean.to_vec(),
            std: preprocessing.std.to_vec(),
        };
        Builder::new(3, normalisation)
            .map(Self)
            .map_err(Error::wrap)
    }

    pub fn build(self, output: Node, threads: usize) -> Result<Program> {
        self.0
            .build(output, Threads::new(threads))
            .map_err(Error::wrap)
    }
}

impl layers::Layers for Layers {
    type Node = Node;

    fn input(&self) -> Node {
        self.0.input()
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
        let convolution = Conv2d::new(&weight, &bias, shape).map_err(Error::wrap)?;
        self.0
            .convolution(x, convolution, residual, relu)
            .map_err(Error::wrap)
    }

    fn max_pool(&mut self, x: Node) -> Result<Node> {
        self.0
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
        self.0.global_average(x).map_err(Error::wrap)
    }

    fn classifier(&mut self, x: Node, weight: Vec<f32>, bias: Vec<f32>) -> Result<Node> {
        self.0.linear(x, &weight, &bias).map_err(Error::wrap)
    }
}
