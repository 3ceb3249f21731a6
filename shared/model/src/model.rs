//! A loaded model: images in, logits out, on the thread that calls.

use crate::{
    Architecture, Calibration, Error,
    device::{Device, available},
    network::{Kernels, Network},
    weights::{Weights, digest},
};
use candle_core::Tensor;
use sightline_convolution::Precision;
use sightline_manifest::{Manifest, Pixels, Source};
use std::{fmt, num::NonZero};

/// How weights are to be loaded.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub device: Device,
    /// What the weights file must hash to, hexadecimal.
    pub sha256: Option<String>,
    /// Instead of the manifest's labels.
    pub labels: Option<Vec<String>>,
    /// Threads of the CPU that compute; by default the cores that the process may use.
    pub threads: Option<NonZero<usize>>,
    /// The numbers that convolutions multiply.
    pub precision: Precision,
    /// For [`Precision::Int8`], instead of what lies beside the weights.
    pub calibration: Option<Calibration>,
    /// Who computes; by default what is fastest on the device.
    pub kernels: Option<Kernels>,
}

/// One image as the preprocess stage makes it, channels first.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// [3, height, width].
    pub shape: [usize; 3],
    pub pixels: Pixels,
}

/// An input that the model can't take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image is {found:?} with {values} values, the model takes {expected:?}")]
pub struct WrongShape {
    pub found: [usize; 3],
    pub values: usize,
    pub expected: [usize; 3],
}

/// Weights, ready to compute.
pub struct Model {
    architecture: Architecture,
    manifest: Manifest,
    weights_sha256: String,
    precision: Precision,
    threads: usize,
    network: Network,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            architecture,
            manifest,
            weights_sha256,
            ..
        } = self;
        write!(
            f,
            "Model({}, {architecture}, {weights_sha256})",
            manifest.name
        )
    }
}

/// Reads the source, checks everything and builds the network. Blocks; a hub may take minutes.
pub fn load(source: &Source, options: &Options) -> Result<Model, Error> {
    let device = options.device.open()?;
    let mut manifest = source.manifest()?;
    let bytes = source.weights()?;
    let weights_sha256 = digest(&bytes);
    if let Some(expected) = options
        .sha256
        .as_ref()
        .filter(|expected| !expected.eq_ignore_ascii_case(&weights_sha256))
    {
        return Err(Error::Digest {
            what: source.to_string(),
            found: weights_sha256,
            expected: expected.clone(),
        });
    }
    let weights = Weights::read(&source.to_string(), &bytes)?;
    let architecture = Architecture::of(&weights)?;
    if let Some(labels) = &options.labels {
        manifest.labels.clone_from(labels);
    }
    let kernels = options
        .kernels
        .unwrap_or_else(|| Kernels::fastest(&architecture, &device));
    let threads = options.threads.map_or_else(available, NonZero::get);
    let manifest = manifest.completed(architecture.classes)?;
    architecture.check_input(&manifest.name, manifest.preprocessing.size)?;
    let calibration = match (options.precision, &options.calibration) {
        (Precision::Int8, Some(calibration)) => Some(calibration.clone()),
        (Precision::Int8, None) => Some(Calibration::beside(source)?),
        _ => None,
    };
    if let Some(calibration) = &calibration {
        calibration.check(&weights_sha256)?;
    }
    let network = Network::build(
        kernels,
        &architecture,
        &weights,
        &manifest.preprocessing,
        (options.precision, calibration.as_ref(), threads),
        &device,
    )?;
    Ok(Model {
        architecture,
        manifest,
        weights_sha256,
        precision: options.precision,
        threads,
        network,
    })
}

impl Model {
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the weights file, hexadecimal.
    pub fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// The numbers that its convolutions multiply.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Threads of the CPU that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// [3, height, width].
    pub fn input_shape(&self) -> [usize; 3] {
        let [height, width] = self.manifest.preprocessing.size;
        [3, height, width]
    }

    /// Whether the model can take this input; nothing is computed.
    pub fn check(&self, input: &Input) -> Result<(), WrongShape> {
        let expected = self.input_shape();
        let values = input.pixels.len();
        if input.shape == expected && values == expected.iter().product::<usize>() {
            return Ok(());
        }
        Err(WrongShape {
            found: input.shape,
            values,
            expected,
        })
    }

    /// The logits of each input, in the order of the labels. Inputs must have passed [`Model::check`].
    pub fn logits(&self, inputs: &[Input]) -> candle_core::Result<Vec<Vec<f32>>> {
        let mut bytes = Vec::new();
        let mut floats = Vec::new();
        for input in inputs {
            match &input.pixels {
                Pixels::U8(values) => bytes.extend_from_slice(values),
                Pixels::F32(values) => floats.extend_from_slice(values),
            }
        }
        let mut of_bytes = self.rows(bytes)?.into_iter();
        let mut of_floats = self.rows(floats)?.into_iter();
        let rows = inputs.iter().map(|input| match input.pixels {
            Pixels::U8(_) => of_bytes.next(),
            Pixels::F32(_) => of_floats.next(),
        });
        Ok(rows.map(Option::unwrap_or_default).collect())
    }

    fn rows<T: candle_core::WithDType>(
        &self,
        values: Vec<T>,
    ) -> candle_core::Result<Vec<Vec<f32>>> {
        let [channels, height, width] = self.input_shape();
        let images = values.len() / (channels * height * width);
        if images == 0 {
            return Ok(Vec::new());
        }
        let x = Tensor::from_vec(
            values,
            (images, channels, height, width),
            &candle_core::Device::Cpu,
        )?;
        self.network.forward(&x)?.to_vec2()
    }
}
