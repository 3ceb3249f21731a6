//! The settings of infer.

use anyhow::Context;
use clap::{Args, Parser};
use sightline_manifest::{Location, labels_of_text};
use sightline_model::{BatchSettings, Calibration, Device, Options, Precision};
use sightline_storage::StorageSettings;
use sightline_stream::{Config, duration};
use sightline_telemetry::TelemetrySettings;
use std::{fs, num::NonZero, path::PathBuf, time::Duration};

/// Reads tensors from the topic `tensors`, classifies them in batches and writes predictions to `predictions`.
#[derive(Debug, Clone, Parser)]
#[command(name = "infer", version)]
pub struct Settings {
    #[command(flatten)]
    pub model: ModelSettings,
    #[command(flatten, next_help_heading = "S3, for a model that is stored there")]
    pub storage: StorageSettings,
    #[command(flatten)]
    pub stream: Config,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

/// Which model, where it runs, and how images are batched.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelSettings {
    /// Weights: `bundled`, a folder (model.safetensors and manifest.json), a .safetensors file with torchvision's or
    /// timm's names, `hf:owner/name[@revision]`, `s3://bucket/prefix/` or `s3://bucket/key.safetensors`
    #[arg(
        long,
        env = "SIGHTLINE_MODEL",
        value_name = "SOURCE",
        default_value = "bundled"
    )]
    pub model: Location,
    /// SHA-256 that the weights file must have
    #[arg(long, env = "SIGHTLINE_WEIGHTS_SHA256", value_name = "HEX", value_parser = sha256)]
    pub weights_sha256: Option<String>,
    /// File of labels, one a line in the order of the classes, instead of the manifest's
    #[arg(long, env = "SIGHTLINE_LABELS", value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Where the model runs: cpu, cuda or cuda:N
    #[arg(long, env = "SIGHTLINE_DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Precision of the convolutions on a CPU: f32; bf16, which is faster and needs AVX512-BF16; or int8, which is the
    /// fastest and needs AVX512-VNNI and the calibration ranges that `sightline calibrate` measures
    #[arg(long, env = "SIGHTLINE_PRECISION", default_value = "f32")]
    pub precision: Precision,
    /// Calibration ranges for int8; by default the file beside the weights: int8.json in their folder or prefix, or
    /// NAME.int8.json beside NAME.safetensors
    #[arg(long, env = "SIGHTLINE_CALIBRATION", value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Threads that compute; by default as many as the process may use cores
    #[arg(long, env = "SIGHTLINE_THREADS", value_name = "N")]
    pub threads: Option<NonZero<usize>>,
    /// Largest number of images in a batch
    #[arg(
        long,
        env = "SIGHTLINE_MAX_BATCH",
        value_name = "IMAGES",
        default_value = "8"
    )]
    pub max_batch: NonZero<usize>,
    /// Longest time that an image waits for more images to fill its batch; when the model is idle, an image is computed at
    /// once
    #[arg(long, env = "SIGHTLINE_MAX_WAIT", value_parser = duration, value_name = "DURATION", default_value = "5ms")]
    pub max_wait: Duration,
    /// The former name of --max-wait
    #[arg(long, env = "SIGHTLINE_MAX_WAIT_MS", value_name = "MS", hide = true)]
    pub max_wait_ms: Option<u64>,
    /// Largest number of images that wait for the model
    #[arg(
        long,
        env = "SIGHTLINE_MAX_QUEUE",
        value_name = "IMAGES",
        default_value = "64"
    )]
    pub max_queue: NonZero<usize>,
    /// Number of classes in a prediction; by default the manifest's top_k
    #[arg(long, env = "SIGHTLINE_TOP_K", value_name = "CLASSES")]
    pub top_k: Option<NonZero<usize>>,
}

fn sha256(text: &str) -> Result<String, String> {
    let hexadecimal = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("64 hexadecimal digits expected".to_owned())
    }
}

impl ModelSettings {
    /// How the model is loaded. Reads the files of labels and calibration ranges.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let labels = self.labels.as_ref().map(|path| {
            let what = path.display().to_string();
            let text = fs::read_to_string(path)
                .with_context(|| format!("can't read the labels in {what}"))?;
            anyhow::Ok(labels_of_text(&what, &text)?)
        });
        let calibration = self.calibration.as_ref().map(|path| {
            let what = path.display().to_string();
            let json =
                fs::read(path).with_context(|| format!("can't read the calibration in {what}"))?;
            anyhow::Ok(Calibration::parse(&what, &json)?)
        });
        Ok(Options {
            device: self.device,
            sha256: self.weights_sha256.clone(),
            labels: labels.transpose()?,
            threads: self.threads,
            precision: self.precision,
            calibration: calibration.transpose()?,
            kernels: None,
        })
    }

    pub(crate) fn batches(&self, top_k: usize) -> BatchSettings {
        BatchSettings {
            max_batch: self.max_batch.get(),
            max_wait: self
                .max_wait_ms
                .map_or(self.max_wait, Duration::from_millis),
            max_queue: self.max_queue.get(),
            top_k,
        }
    }

    /// One sentence for each setting that cannot work, with the name of its flag.
    pub fn problems(&self) -> Vec<String> {
        let files = [
            ("--labels", &self.labels),
            ("--calibration", &self.calibration),
        ];
        let missing = files.into_iter().filter_map(|(flag, path)| {
            let path = path.as_ref().filter(|path| !path.is_file())?;
            Some(format!("{flag}: {} is not a file", path.display()))
        });
        missing
            .chain(self.model.problem().map(|why| format!("--model: {why}")))
            .collect()
    }
}

impl sightline_service::Settings for Settings {
    fn problems(&self) -> Vec<String> {
        let own = self.model.problems();
        [own, self.storage.problems(), self.stream.problems()].concat()
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}
