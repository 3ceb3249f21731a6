//! `sightline bench` measures the exactly-once loop, the model, or the whole pipeline.

mod hops;
mod model;
mod percentile;
mod pipeline;

use clap::Subcommand;
use std::time::Duration;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Measure the exactly-once loop: copy records through a chain of stages, on topics of its own
    Hops(hops::BenchHops),
    /// Measure the model: compute batches on this machine's processor
    Model(model::BenchModel),
    /// Measure a running pipeline: put images into its bucket at a steady rate and wait for their results
    Pipeline(pipeline::BenchPipeline),
}

/// Parses the time to measure for: `20s`, `2m` or a number of seconds, from 1 second to a day.
fn length(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }?;
    if (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&parsed) {
        Ok(parsed)
    } else {
        Err("from 1s to 24h".to_owned())
    }
}

impl Bench {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Hops(hops) => hops.run().await,
            Self::Model(model) => model.run(),
            Self::Pipeline(pipeline) => pipeline.run().await,
        }
    }
}
