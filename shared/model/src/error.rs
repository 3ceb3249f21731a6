//! Why a model can't be loaded.

use std::fmt;

/// What is in the way of a model, by what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The weights or their manifest can't be read, or are not what they should be.
    #[error(transparent)]
    Source(#[from] sightline_manifest::Error),
    /// The weights are no ResNet that this crate knows; the first tensor that differs, in the order of the forward pass.
    #[error("weights don't fit {architecture}: tensor {tensor:?} is {found}, expected {expected}")]
    Mismatch {
        architecture: String,
        tensor: String,
        found: String,
        expected: String,
    },
    /// Not the file that the settings ask for.
    #[error("weights of {what} have SHA-256 {found}, expected {expected}")]
    Digest {
        what: String,
        found: String,
        expected: String,
    },
    /// Computing in bytes needs the ranges of activations, and there are none for these weights.
    #[error(
        "int8 needs to know between which values {what} computes: measure them with \
         `sightline calibrate --model {what} IMAGE...`, and name the file with --calibration unless it lies beside the weights"
    )]
    Uncalibrated { what: String },
    /// The device asked for is not there.
    #[error("device {device} is not usable: {why}")]
    Device { device: String, why: String },
    /// Candle failed, which loading checked weights does not account for.
    #[error("model can't be built")]
    Build(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn invalid(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        sightline_manifest::Error::invalid(what, why).into()
    }
}
