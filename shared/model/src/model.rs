//! A loaded model: images in, logits out, on the calling thread.

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

/// How to load weights.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The device that computes.
    pub device: Device,
    /// SHA-256 that the weights file must have, hexadecimal; by default any.
    pub sha256: Option<String>,
    /// Labels that replace the manifest's, in the order of the logits.
    pub labels: Option<Vec<String>>,
    /// CPU threads; by default the cores that the process may use.
    pub threads: Option<NonZero<usize>>,
    /// The number format of the convolutions.
    pub precision: Precision,
    /// Calibration ranges for [`Precision::Int8`]; by default those beside the weights.
    pub calibration: Option<Calibration>,
    /// The implementation of the convolutions; by default the fastest on the device.
    pub kernels: Option<Kernels>,
}

/// One preprocessed image, channels first.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// [3, height, width].
    pub shape: [usize; 3],
    /// Row-major, as many as the shape says.
    pub pixels: Pixels,
}

/// An input of the wrong shape or length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image is {found:?} with {values} values, the model takes {expected:?}")]
pub struct WrongShape {
    /// The input's shape.
    pub found: [usize; 3],
    /// The input's values.
    pub values: usize,
    /// The model's shape, [3, height, width].
    pub expected: [usize; 3],
}

/// A network with its weights and manifest.
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

/// Reads the source, checks it and builds the network. Blocks; a hub may take minutes.
///
/// # Errors
/// [`Error`] says what an operator can do.
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
    /// The dimensions of the network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The manifest, with a label for each class.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the weights file, hexadecimal.
    pub fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// The number format of its convolutions.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// CPU threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The shape of an input: [3, height, width].
    pub fn input_shape(&self) -> [usize; 3] {
        let [height, width] = self.manifest.preprocessing.size;
        [3, height, width]
    }

    /// Checks shape and length of an input without computing anything.
    ///
    /// # Errors
    /// [`WrongShape`] if they are not the model's.
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
    ///
    /// # Errors
    /// If the device fails, for instance for lack of memory.
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
