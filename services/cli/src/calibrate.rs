//! `sightline calibrate` measures the calibration ranges that int8 needs.

use crate::{files, output::line};
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sightline_manifest::{Pixels, Preprocessing, Source};
use sightline_model::{Calibrator, Input};
use sightline_vision::{Limits, decode, tensor};
use std::{fs, num::NonZero, path::PathBuf};

#[derive(Args)]
pub(crate) struct Calibrate {
    /// Weights: `bundled`, a folder, a .safetensors file or `hf:owner/name[@revision]`
    #[arg(
        long,
        env = "SIGHTLINE_MODEL",
        value_name = "SOURCE",
        default_value = "bundled"
    )]
    model: Source,
    /// File to write the calibration ranges to; by default beside the weights, where `--precision int8` finds them, or
    /// standard output if the weights are not files on disk
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Threads that compute; by default as many as the process may use cores
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// A few hundred images like those that will be classified: files, and folders of files
    #[arg(value_name = "PATH", required = true)]
    images: Vec<PathBuf>,
}

impl Calibrate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut found = Vec::new();
        for path in &self.images {
            files::walk(path, &mut found)
                .with_context(|| format!("can't read {}", path.display()))?;
        }
        found.sort();
        found.dedup();
        let mut calibrator = Calibrator::new(&self.model, self.threads)?;
        let preprocessing = calibrator.manifest().preprocessing.clone();
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} images  {per_sec}  {eta} left")?;
        let bar = ProgressBar::new(found.len() as u64).with_style(style);
        for file in found {
            match image(&file, &preprocessing) {
                Ok(image) => calibrator.observe(&image)?,
                Err(error) => bar.suspend(|| eprintln!("{} left out: {error:#}", file.display())),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let calibration = calibrator.finish();
        let images = calibration.images;
        ensure!(images > 0, "no image to measure on");
        let json = serde_json::to_string_pretty(&calibration)?;
        let Some(path) = self.output.or_else(|| self.model.calibration_path()) else {
            line(json);
            return Ok(());
        };
        fs::write(&path, json + "\n").with_context(|| format!("can't write {}", path.display()))?;
        eprintln!(
            "ranges of {} activations over {images} images in {}",
            calibration.ranges.len(),
            path.display()
        );
        Ok(())
    }
}

fn image(file: &PathBuf, preprocessing: &Preprocessing) -> anyhow::Result<Input> {
    let picture = decode(&fs::read(file)?, &Limits::default())?;
    let tensor = tensor(&picture, preprocessing);
    Ok(Input {
        shape: tensor.shape,
        pixels: Pixels::U8(tensor.data.into()),
    })
}
