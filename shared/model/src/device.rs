//! The device that a model runs on.

use crate::Error;
use std::{fmt, num::NonZero, str::FromStr};

/// `cpu`, `cuda` or `cuda:N` as text. A device that is missing is an error; there is no fallback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ordinal = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            other => other
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok()),
        };
        ordinal
            .map(Self::Cuda)
            .ok_or_else(|| format!("{text:?} is no device: cpu, cuda or cuda:N expected"))
    }
}

impl Device {
    pub(crate) fn open(self) -> Result<candle_core::Device, Error> {
        let unusable = |why: String| Error::Device {
            device: self.to_string(),
            why,
        };
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(unusable(
                "this binary was built without the feature `cuda`".to_owned(),
            )),
            Self::Cuda(ordinal) => {
                candle_core::Device::new_cuda(ordinal).map_err(|error| unusable(error.to_string()))
            }
        }
    }
}

/// The cores that the process may use by its CPU quota and affinity.
pub(crate) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
