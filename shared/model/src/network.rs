//! A network built from checked weights, on one of the two backends.

use crate::{
    Calibration, Error, architecture::Architecture, fused, resnet, stock, weights::Weights,
};
use candle_core::{Device, Result, Tensor};
use sightline_convolution::Precision;
use sightline_manifest::Preprocessing;

/// The implementation of the convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// The fused convolutions of `sightline-convolution`, for the CPU.
    Fused,
    /// Candle's own operations: for GPUs, and as a reference on a CPU.
    Candle,
}

impl Kernels {
    /// The fused kernels where they apply: on a CPU, without grouped convolutions.
    pub(crate) fn fastest(architecture: &Architecture, device: &Device) -> Self {
        if device.is_cpu() && architecture.groups == 1 {
            Self::Fused
        } else {
            Self::Candle
        }
    }
}

/// A network: images `[n, 3, height, width]`, `u8` or normalised `f32`, to logits `[n, classes]`.
pub(crate) enum Network {
    Fused(sightline_convolution::Program),
    Stock(stock::Program),
}

impl Network {
    pub(crate) fn build(
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

    pub(crate) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        match self {
            Self::Fused(program) => program.forward(images),
            Self::Stock(program) => program.forward(images),
        }
    }
}
