//! Calibration for int8: the range of each activation.
//!
//! Ranges are measured in f32 on representative images. The end of a range is the mean of the images' own extremes; a
//! range up to the largest value ever seen would quantize all others coarsely.

use crate::{
    Architecture, Error, Input,
    device::available,
    fused::Layers,
    resnet,
    weights::{Weights, digest},
};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sightline_convolution::{Node, Precision, Program};
use sightline_manifest::{Manifest, Pixels, Source};
use std::{collections::BTreeMap, num::NonZero};

/// Calibration ranges of the activations of one file of weights, as `int8.json` beside the weights holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// SHA-256 of the weights that it was measured with, hexadecimal.
    pub weights_sha256: String,
    /// Images that it was measured on.
    pub images: usize,
    /// Least and largest value after each convolution, with its batch norm, residual and ReLU, by the convolution's name
    /// in the weights.
    pub ranges: BTreeMap<String, [f32; 2]>,
}

impl Calibration {
    /// Parses `int8.json`; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Source`] if it is not such a file or a range is not finite.
    pub fn parse(what: &str, json: &[u8]) -> Result<Self, Error> {
        let found: Self =
            serde_json::from_slice(json).map_err(|error| Error::invalid(what, error))?;
        let finite = |range: &[f32; 2]| range.iter().all(|end| end.is_finite());
        match found.ranges.iter().find(|(_, range)| !finite(range)) {
            Some((name, range)) => Err(Error::invalid(what, format!("{name}: range {range:?}"))),
            None => Ok(found),
        }
    }

    /// What lies beside the weights. Blocks.
    pub(crate) fn beside(source: &Source) -> Result<Self, Error> {
        let what = source.to_string();
        match source.calibration()? {
            Some((name, json)) => Self::parse(&name, &json),
            None => Err(Error::Uncalibrated { what }),
        }
    }

    /// # Errors
    /// [`Error::Source`] if it was measured with other weights.
    pub(crate) fn check(&self, weights_sha256: &str) -> Result<(), Error> {
        if self.weights_sha256 == weights_sha256 {
            return Ok(());
        }
        Err(Error::invalid(
            "the calibration",
            format!(
                "it was made for weights with SHA-256 {}, these have {weights_sha256}",
                self.weights_sha256
            ),
        ))
    }
}

/// Measures a [`Calibration`] image by image.
pub struct Calibrator {
    manifest: Manifest,
    weights_sha256: String,
    program: Program,
    convolutions: Vec<(String, Node)>,
    /// Sums over the images of each convolution's least and largest value.
    sums: Vec<[f64; 2]>,
    images: usize,
}

impl Calibrator {
    /// Reads the weights and builds the network in f32 on `threads` threads, by default the cores that the process may
    /// use. Blocks.
    ///
    /// # Errors
    /// As [`load`](crate::load).
    pub fn new(source: &Source, threads: Option<NonZero<usize>>) -> Result<Self, Error> {
        let manifest = source.manifest()?;
        let bytes = source.weights()?;
        let weights = Weights::read(&source.to_string(), &bytes)?;
        let architecture = Architecture::of(&weights)?;
        let manifest = manifest.completed(architecture.classes)?;
        architecture.check_input(&manifest.name, manifest.preprocessing.size)?;
        let mut layers = Layers::new(&manifest.preprocessing, Precision::F32, None)?;
        let output = resnet::describe(&architecture, &weights, &mut layers)?;
        let convolutions = layers.convolutions();
        let threads = threads.map_or_else(available, NonZero::get);
        Ok(Self {
            weights_sha256: digest(&bytes),
            program: layers.build(output, threads)?,
            sums: vec![[0.0; 2]; convolutions.len()],
            convolutions,
            manifest,
            images: 0,
        })
    }

    /// The manifest, with its labels.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Measures an image: `u8` of `[3, height, width]`, preprocessed as the manifest says.
    ///
    /// # Errors
    /// If the image is not of bytes, or the network can't compute its size.
    pub fn observe(&mut self, image: &Input) -> candle_core::Result<()> {
        let Pixels::U8(bytes) = &image.pixels else {
            candle_core::bail!("calibration is on bytes");
        };
        let [channels, height, width] = image.shape;
        let shape = (1, channels, height, width);
        let images = Tensor::from_slice(bytes, shape, &Device::Cpu)?;
        let ranges = self.program.ranges(&images)?;
        for ((_, node), [least, largest]) in self.convolutions.iter().zip(&mut self.sums) {
            let range = ranges.of(*node);
            *least += f64::from(range.0);
            *largest += f64::from(range.1);
        }
        self.images += 1;
        Ok(())
    }

    /// The calibration over all images so far.
    pub fn finish(self) -> Calibration {
        let images = self.images.max(1) as f64;
        let mean = |sums: [f64; 2]| sums.map(|sum| (sum / images) as f32);
        let names = self.convolutions.into_iter().map(|(name, _)| name);
        Calibration {
            weights_sha256: self.weights_sha256,
            images: self.images,
            ranges: names.zip(self.sums.into_iter().map(mean)).collect(),
        }
    }
}
