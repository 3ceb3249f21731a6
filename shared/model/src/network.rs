//! A network from checked weights, and which of the two backends computes it.

use crate::{
    Calibration, Error, architecture::Architecture, fused, resnet, stock, weights::Weights,
};
use candle_core::{Device, Result, Tensor};
use sightline_convolution::Precision;
use sightline_manifest::Preprocessing;

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// This project's fused convolutions, for the CPU.
    Fused,
    /// Candle's own operations: on a GPU what runs, on a CPU the reference.
    Candle,
}

impl Kernels {
    /// The fused ones know no groups; for those Candle's are slower but right.
    pub(crate) fn fastest(architecture: &Architecture, device: &Device) -> Self {
        if device.is_cpu() && architecture.groups == 1 {
            Self::Fused
        } else {
            Self::Candle
        }
    }
}

/// A network that can be computed: images [n, 3, height, width] of bytes, or of normalised floats, to logits.
pub(crate) enum Network {
    Fused(sightline_convolution::Program),
    Stock(stock::Program),
}

impl Network {
    pub fn build(
        kernels: Kernels,
        architecture: &Architecture,
        weights: &Weights<'_>,
        preprocessing: &Preprocessing,
        (precision, calibration, threads): (Precision, Option<&Calibration>, usize),
        device: &Device,
    ) -> std::result::Result<Self, Error> {
        match kernels {
            Kernels::Candle if precision != Precision::F32 => {
                let text = format!(
                    "{precision} is for the CPU's own kernels, which this model or device does not use"
                );
                Err(candle_core::Error::msg(text).into())
            }
            Kernels::Fused => {
                let mut layers = fused::Layers::new(preprocessing, precision, calibration)?;
                let output = resnet::describe(architecture, weights, &mut layers)?;
                Ok(Self::Fused(layers.build(output, threads)?))
            }
            Kernels::Candle => {
                let mut layers = stock::Layers::new(preprocessing, device)?;
                let output = resnet::describe(architecture, weights, &mut layers)?;
                Ok(Self::Stock(layers.build(output)))
            }
        }
    }

    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        match self {
            Self::Fused(program) => program.forward(images),
            Self::Stock(program) => program.forward(images),
        }
    }
}
