//! Errors of loading a model.

use std::fmt;

/// Why a model can't be loaded, by what an operator can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The weights or their manifest can't be read, or are not what they should be.
    #[error(transparent)]
    Source(#[from] sightline_manifest::Error),
    /// The weights are not of a supported ResNet. Names the first tensor that differs, in the order of the forward pass.
    #[error("weights don't fit {architecture}: tensor {tensor:?} is {found}, expected {expected}")]
    Mismatch {
        /// The closest architecture.
        architecture: String,
        /// The name of the tensor.
        tensor: String,
        /// Its shape, dtype or defect.
        found: String,
        /// What the architecture needs.
        expected: String,
    },
    /// The weights are not the file that the settings ask for.
    #[error("weights of {what} have SHA-256 {found}, expected {expected}")]
    Digest {
        /// The source of the weights.
        what: String,
        /// SHA-256 of the file, hexadecimal.
        found: String,
        /// SHA-256 in the settings, hexadecimal.
        expected: String,
    },
    /// Int8 needs calibration ranges, and there are none for these weights.
    #[error(
        "int8 needs calibration ranges, and there are none for {what}: measure them with \
         `sightline calibrate --model {what} IMAGE...`, and name the file with --calibration unless it lies beside the weights"
    )]
    Uncalibrated {
        /// The source of the weights.
        what: String,
    },
    /// The device is missing or not usable.
    #[error("device {device} is not usable: {why}")]
    Device {
        /// The device in the settings.
        device: String,
        /// What is missing.
        why: String,
    },
    /// Candle failed to build the network.
    #[error("model can't be built")]
    Build(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn invalid(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        sightline_manifest::Error::invalid(what, why).into()
    }
}
