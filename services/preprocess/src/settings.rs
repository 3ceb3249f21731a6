//! The settings of preprocess.

use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use sightline_contracts::ImageRef;
use sightline_manifest::Location;
use sightline_storage::StorageSettings;
use sightline_stream::{Config, duration};
use sightline_telemetry::TelemetrySettings;
use sightline_vision::{Fit, Limits, ThumbnailSpec};
use std::{num::NonZero, path::PathBuf, thread, time::Duration};

/// Reads image references from `images`, fetches and decodes the images and writes tensors and thumbnails to `tensors`.
#[derive(Debug, Clone, Parser)]
#[command(name = "preprocess", version)]
pub struct Settings {
    #[command(flatten)]
    pub images: ImageSettings,
    #[command(flatten, next_help_heading = "S3")]
    pub storage: StorageSettings,
    #[command(flatten)]
    pub stream: Config,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

/// Limits for images, and what is made of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images")]
pub struct ImageSettings {
    /// The model that the tensors are for, as infer names it; only its manifest is read: `bundled`, a folder or a
    /// manifest.json, a .safetensors file, `hf:owner/name[@revision]`, `s3://bucket/prefix/` or `s3://bucket/key.safetensors`
    #[arg(
        long,
        env = "SIGHTLINE_MODEL",
        value_name = "SOURCE",
        default_value = "bundled"
    )]
    pub model: Location,
    /// The former name of --model
    #[arg(long, env = "SIGHTLINE_MANIFEST", value_name = "SOURCE", hide = true)]
    pub manifest: Option<Location>,
    /// Largest object that is fetched; a larger one becomes a dead letter
    #[arg(
        long,
        env = "SIGHTLINE_MAX_OBJECT_BYTES",
        value_name = "BYTES",
        default_value_t = ImageRef::DEFAULT_MAX_BYTES
    )]
    pub max_object_bytes: u64,
    /// Bytes of all objects that are being fetched, wait to be decoded or are being decoded; further fetches wait
    #[arg(long, env = "SIGHTLINE_MAX_HELD_BYTES", value_name = "BYTES", default_value_t = 128 << 20)]
    pub max_held_bytes: u64,
    /// Largest image that is decoded, as width times height
    #[arg(
        long,
        env = "SIGHTLINE_MAX_PIXELS",
        value_name = "PIXELS",
        default_value_t = 100_000_000
    )]
    pub max_pixels: u64,
    /// Longest side of an image that is decoded
    #[arg(
        long,
        env = "SIGHTLINE_MAX_SIDE",
        value_name = "PIXELS",
        default_value_t = 32_768
    )]
    pub max_side: u32,
    /// Largest ratio of an image's longer side to its shorter side
    #[arg(
        long,
        env = "SIGHTLINE_MAX_RATIO",
        value_name = "TIMES",
        default_value_t = 64
    )]
    pub max_ratio: u32,
    /// Memory that all images together may take while they are decoded; by default what the process's memory limit leaves
    #[arg(long, env = "SIGHTLINE_DECODE_MEMORY", value_name = "BYTES")]
    pub decode_memory: Option<u64>,
    /// Processor time that decoding one image may take; only with --decode-isolation process
    #[arg(long, env = "SIGHTLINE_DECODE_TIME", value_parser = duration, default_value = "10s")]
    pub decode_time: Duration,
    /// Where images are decoded: in sandboxed processes, or in threads of the service, where an image that crashes its
    /// decoder ends the service [default: process on Linux, thread elsewhere]
    #[arg(
        long,
        env = "SIGHTLINE_DECODE_ISOLATION",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    pub decode_isolation: Isolation,
    /// The program that is started as decoder, instead of this one: for a service that runs within another program, such
    /// as a test
    #[arg(
        long,
        env = "SIGHTLINE_DECODE_PROGRAM",
        value_name = "FILE",
        hide = true
    )]
    pub decode_program: Option<PathBuf>,
    /// Threads that decode and resize; by default as many as the process may use cores
    #[arg(long, env = "SIGHTLINE_DECODE_THREADS", value_name = "N")]
    pub decode_threads: Option<NonZero<usize>>,
    /// Largest number of images that wait for one of these threads
    #[arg(
        long,
        env = "SIGHTLINE_DECODE_QUEUE",
        value_name = "IMAGES",
        default_value = "64"
    )]
    pub decode_queue: NonZero<usize>,
    /// Type of the tensor's values: u8 as decoded, which infer normalises; f32 is already normalised, and four times as large
    #[arg(long, env = "SIGHTLINE_TENSOR_TYPE", value_enum, default_value = "u8")]
    pub tensor_type: TensorType,
    /// Width of the thumbnail
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_WIDTH",
        value_name = "PIXELS",
        default_value_t = 128
    )]
    pub thumbnail_width: u32,
    /// Height of the thumbnail
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_HEIGHT",
        value_name = "PIXELS",
        default_value_t = 128
    )]
    pub thumbnail_height: u32,
    /// How the image fits into the thumbnail: cover fills the thumbnail and crops the image, contain shows the whole image
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_FIT",
        value_enum,
        default_value = "cover"
    )]
    pub thumbnail_fit: ThumbnailFit,
}

/// Where images are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// In a sandboxed process; a crash ends only that process.
    Process,
    /// In a thread of the service; a crash ends the service.
    Thread,
}

impl Default for Isolation {
    fn default() -> Self {
        if cfg!(target_os = "linux") {
            Self::Process
        } else {
            Self::Thread
        }
    }
}

/// The type of the tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum TensorType {
    U8,
    F32,
}

/// How the image fits into the thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ThumbnailFit {
    Cover,
    Contain,
}

/// A thumbnail is part of two messages. This keeps it small compared with the tensor.
const THUMBNAIL_SIDES: std::ops::RangeInclusive<u32> = 1..=512;

impl ImageSettings {
    /// The defaults, without those of the environment, for tests.
    pub fn defaults() -> Self {
        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            images: ImageSettings,
        }
        let command =
            <Only as clap::CommandFactory>::command().mut_args(|arg| arg.env(None::<&'static str>));
        let matches = command.get_matches_from(["defaults"]);
        <ImageSettings as clap::FromArgMatches>::from_arg_matches(&matches)
            .unwrap_or_else(|error| error.exit())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_pixels: self.max_pixels,
            max_side: self.max_side,
            max_ratio: self.max_ratio,
        }
    }

    pub(crate) fn thumbnail(&self) -> ThumbnailSpec {
        let fit = match self.thumbnail_fit {
            ThumbnailFit::Cover => Fit::Cover,
            ThumbnailFit::Contain => Fit::Contain,
        };
        ThumbnailSpec {
            width: self.thumbnail_width,
            height: self.thumbnail_height,
            fit,
        }
    }

    /// Bytes to reserve for an object: while it is sent to the decoder, both processes hold it.
    pub(crate) fn held_for(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(2)
    }

    /// The model that the tensors are for, from --model or its former name --manifest.
    pub(crate) fn model(&self) -> &Location {
        self.manifest.as_ref().unwrap_or(&self.model)
    }

    pub(crate) fn threads(&self) -> NonZero<usize> {
        self.decode_threads
            .unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }

    /// One sentence for each setting that cannot work, with the name of its flag.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(why) = self.model().problem() {
            found.push(format!("--model: {why}"));
        }
        let checks = [
            (self.max_object_bytes == 0, "--max-object-bytes: at least 1"),
            (
                self.max_held_bytes < self.held_for(self.max_object_bytes),
                "--max-held-bytes: at least twice --max-object-bytes",
            ),
            (
                self.max_held_bytes > 1 << 40,
                "--max-held-bytes: at most 1 TiB",
            ),
            (self.max_pixels == 0, "--max-pixels: at least 1"),
            (self.max_side == 0, "--max-side: at least 1"),
            (self.max_ratio == 0, "--max-ratio: at least 1"),
            (self.decode_memory == Some(0), "--decode-memory: at least 1"),
            (
                self.decode_time < Duration::from_secs(1),
                "--decode-time: at least 1s",
            ),
            (
                cfg!(not(target_os = "linux")) && self.decode_isolation == Isolation::Process,
                "--decode-isolation: process needs Linux",
            ),
            (
                !THUMBNAIL_SIDES.contains(&self.thumbnail_width),
                "--thumbnail-width: 1 to 512",
            ),
            (
                !THUMBNAIL_SIDES.contains(&self.thumbnail_height),
                "--thumbnail-height: 1 to 512",
            ),
        ];
        found.extend(
            checks
                .iter()
                .filter(|(wrong, _)| *wrong)
                .map(|(_, problem)| (*problem).to_owned()),
        );
        found
    }
}

impl sightline_service::Settings for Settings {
    fn problems(&self) -> Vec<String> {
        [
            self.images.problems(),
            self.storage.problems(),
            self.stream.problems(),
        ]
        .concat()
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problems() {
        assert_eq!(ImageSettings::defaults().problems(), Vec::<String>::new());
    }

    #[test]
    fn wrong_settings_are_named_together() {
        let settings = ImageSettings {
            model: "nowhere.json".parse().unwrap(),
            max_held_bytes: 1,
            thumbnail_width: 0,
            ..ImageSettings::defaults()
        };
        let problems = settings.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("nowhere.json"));
    }
}
