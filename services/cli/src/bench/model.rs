//! `sightline bench model` measures how long a batch takes on this machine.

use crate::{
    bench::{length, percentile::percentile_ms},
    output::line,
};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use sightline_manifest::{Pixels, Source};
use sightline_model::{
    Calibration, Calibrator, Input, Model, Options, Precision, load, random::Net,
};
use std::{
    fs,
    num::NonZero,
    path::PathBuf,
    time::{Duration, Instant},
};

#[derive(Args)]
pub(crate) struct BenchModel {
    /// Weights: `bundled`, a folder, a .safetensors file or `hf:owner/name[@revision]`
    #[arg(long, value_name = "SOURCE", default_value = "bundled")]
    weights: Source,
    /// Measure a full-size ResNet-101 with random weights
    #[arg(long, conflicts_with = "weights")]
    random_weights: bool,
    /// Precision of the convolutions: f32, bf16 or int8
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Calibration ranges for int8; by default the file beside the weights; for random weights they are measured
    #[arg(long, value_name = "FILE", conflicts_with = "random_weights")]
    calibration: Option<PathBuf>,
    /// Batch sizes to measure
    #[arg(long, value_name = "IMAGES", num_args = 1.., default_values = ["1", "8"])]
    batch: Vec<NonZero<usize>>,
    /// Threads that compute; by default as many as the process may use cores
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Time to measure each batch size for
    #[arg(long, alias = "seconds", value_parser = length, value_name = "DURATION", default_value = "5s")]
    duration: Duration,
    /// Print one JSON object for each batch size instead of a sentence
    #[arg(long)]
    json: bool,
}

/// The measurement of one batch size.
#[derive(Debug, Serialize)]
struct Report {
    precision: String,
    batch: usize,
    threads: usize,
    median_ms: f64,
    min_ms: f64,
    p99_ms: f64,
    images_per_s: f64,
    weights: String,
}

impl BenchModel {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let source = if self.random_weights {
            Net::resnet101().source(1)
        } else {
            self.weights.clone()
        };
        let options = Options {
            threads: self.threads,
            precision: self.precision,
            calibration: self.calibration(&source)?,
            ..Options::default()
        };
        let started = Instant::now();
        let model = load(&source, &options)?;
        let weights = source.to_string();
        // A source of random weights holds a second copy of them.
        drop(source);
        let loaded = started.elapsed();
        if !self.json {
            line(format_args!(
                "{} with {weights} weights, loaded in {loaded:.2?}",
                model.architecture()
            ));
        }
        for batch in &self.batch {
            let report = self.measure(&model, batch.get(), &weights)?;
            if self.json {
                line(serde_json::to_string(&report)?);
            } else {
                line(format_args!(
                    "{} batch {:2}, {} threads: median {:.1} ms, min {:.1} ms, p99 {:.1} ms, {:.1} images/s",
                    report.precision,
                    report.batch,
                    report.threads,
                    report.median_ms,
                    report.min_ms,
                    report.p99_ms,
                    report.images_per_s
                ));
            }
        }
        Ok(())
    }

    fn calibration(&self, source: &Source) -> anyhow::Result<Option<Calibration>> {
        if let Some(path) = &self.calibration {
            let json = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
            let what = path.display().to_string();
            return Ok(Some(Calibration::parse(&what, &json)?));
        }
        if !self.random_weights || self.precision != Precision::Int8 {
            return Ok(None);
        }
        let mut calibrator = Calibrator::new(source, self.threads)?;
        let [height, width] = calibrator.manifest().preprocessing.size;
        calibrator.observe(&noise([3, height, width]))?;
        Ok(Some(calibrator.finish()))
    }

    fn measure(&self, model: &Model, batch: usize, weights: &str) -> anyhow::Result<Report> {
        let inputs = vec![noise(model.input_shape()); batch];
        model.logits(&inputs)?;
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < 9 || start.elapsed() < self.duration {
            let start = Instant::now();
            model.logits(&inputs)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let median = times[times.len() / 2];
        Ok(Report {
            precision: model.precision().to_string(),
            batch,
            threads: model.threads(),
            median_ms: percentile_ms(&times, 0.5),
            min_ms: percentile_ms(&times, 0.0),
            p99_ms: percentile_ms(&times, 0.99),
            images_per_s: (batch as f64 / median.as_secs_f64() * 100.0).round() / 100.0,
            weights: weights.to_owned(),
        })
    }
}

/// An image of pseudo-random pixels, the same in every run.
fn noise(shape: [usize; 3]) -> Input {
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    Input {
        shape,
        pixels: Pixels::U8((0..shape.iter().product()).map(value).collect()),
    }
}
