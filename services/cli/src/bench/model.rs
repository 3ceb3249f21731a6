//! `sightline bench model`: how long a batch takes on this machine.

use crate::output::line;
use clap::Args;
use serde::Serialize;
use sightline_model::{Input, Options, Pixels, Precision, Source, load, random::Net};
use sightline_stream::hops::percentile_ms;
use std::{
    num::NonZero,
    time::{Duration, Instant},
};

#[derive(Args)]
pub struct Model {
    /// Weights: `bundled`, a folder, a .safetensors file or `hf:owner/name[@revision]`
    #[arg(long, value_name = "SOURCE", default_value = "bundled")]
    weights: Source,
    /// A full-size ResNet-101 with weights of no use but for measuring
    #[arg(long, conflicts_with = "weights")]
    random_weights: bool,
    /// Numbers that convolutions multiply: f32 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Images computed together, several sizes allowed
    #[arg(long, value_name = "IMAGES", num_args = 1.., default_values = ["1", "8"])]
    batch: Vec<NonZero<usize>>,
    /// Threads that compute; by default the cores that the process may use
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Time to measure each batch size for
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// One JSON object a batch size instead of a table
    #[arg(long)]
    json: bool,
}

/// What a batch took.
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

impl Model {
    pub fn run(self) -> anyhow::Result<()> {
        let source = match self.random_weights {
            true => Net::resnet101().source(1),
            false => self.weights.clone(),
        };
        let options = Options {
            threads: self.threads,
            precision: self.precision,
            ..Options::default()
        };
        let started = Instant::now();
        let model = load(&source, &options)?;
        let weights = source.to_string();
        // Random weights are as large as the model itself.
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

    fn measure(
        &self,
        model: &sightline_model::Model,
        batch: usize,
        weights: &str,
    ) -> anyhow::Result<Report> {
        let shape = model.input_shape();
        let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
        let image = Input {
            shape,
            pixels: Pixels::U8((0..shape.iter().product()).map(noise).collect()),
        };
        let inputs = vec![image; batch];
        model.logits(&inputs)?;
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < 9 || start.elapsed() < Duration::from_secs(self.seconds) {
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
