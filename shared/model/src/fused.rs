//! The backend for CPUs: the network as one Candle operation of fused, channels-last convolutions.

use crate::{
    Calibration,
    layers::{self, Filter},
};
use candle_core::{Error, Result};
use sightline_convolution::{
    Builder, Conv2d, Grid, Grids, Isa, Node, Normalisation, Precision, Program, Shape, Threads,
    Window,
};
use sightline_manifest::Preprocessing;

pub(crate) struct Layers<'a> {
    net: Builder,
    isa: Isa,
    /// Set for int8.
    calibration: Option<&'a Calibration>,
    convolutions: Vec<(String, Node)>,
}

impl<'a> Layers<'a> {
    /// Fails if the processor has no instructions for the precision. Int8 needs a calibration.
    pub(crate) fn new(
        preprocessing: &Preprocessing,
        precision: Precision,
        calibration: Option<&'a Calibration>,
    ) -> Result<Self> {
        let Some(isa) = Isa::of(precision) else {
            let lacking = match precision {
                Precision::Int8 => "AVX512-VNNI",
                _ => "AVX512-BF16",
            };
            candle_core::bail!(
                "{precision} is not what this processor multiplies: it lacks {lacking}"
            );
        };
        let normalisation = Normalisation {
            mean: preprocessing.mean.to_vec(),
            std: preprocessing.std.to_vec(),
        };
        let net = Builder::new(3, normalisation, isa.precision()).map_err(Error::wrap)?;
        Ok(Self {
            net,
            isa,
            calibration,
            convolutions: Vec::new(),
        })
    }

    /// The nodes of the convolutions so far, with their names in the weights.
    pub(crate) fn convolutions(&self) -> Vec<(String, Node)> {
        self.convolutions.clone()
    }

    fn packed(
        &self,
        x: Node,
        filter: &Filter,
        shape: Shape,
        residual: Option<Node>,
        relu: bool,
    ) -> Result<Conv2d> {
        let Filter {
            name, weight, bias, ..
        } = filter;
        if self.isa.precision() != Precision::Int8 {
            return Conv2d::for_isa(self.isa, weight, bias, shape).map_err(Error::wrap);
        }
        let range = self.calibration.and_then(|c| c.ranges.get(name));
        let Some(&[least, largest]) = range else {
            candle_core::bail!("the calibration does not know {name}");
        };
        let grid = |node| self.net.grid(node).map_err(Error::wrap);
        let grids = Grids {
            input: grid(x)?,
            residual: residual.map(grid).transpose()?,
            output: Grid::over(if relu { 0.0 } else { least }, largest),
        };
        Conv2d::quantised(weight, bias, shape, grids).map_err(Error::wrap)
    }

    pub(crate) fn build(self, output: Node, threads: usize) -> Result<Program> {
        self.net
            .build(output, Threads::new(threads))
            .map_err(Error::wrap)
    }
}

impl layers::Layers for Layers<'_> {
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
            inputs,
            kernel,
            stride,
            groups,
            ..
        } = filter;
        let shape = Shape {
            out_channels: filter.bias.len(),
            in_channels: inputs,
            kernel: (kernel, kernel),
            stride,
            padding: kernel / 2,
            groups,
        };
        let convolution = self.packed(x, &filter, shape, residual, relu)?;
        let node = self.net.convolution(x, convolution, residual, relu);
        let node = node.map_err(Error::wrap)?;
        self.convolutions.push((filter.name, node));
        Ok(node)
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
