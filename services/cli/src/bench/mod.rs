//! `sightline bench`: what the loop costs, what the model takes, and the whole pipeline.

mod hops;
mod model;
mod percentile;
mod pipeline;

use clap::Subcommand;
use std::time::Duration;

#[derive(Subcommand)]
pub enum Bench {
    /// Pass records through stages of the exactly-once loop, on topics of its own
    Hops(hops::Hops),
    /// Compute batches on this machine's processor
    Model(model::Model),
    /// Put images into a running pipeline's bucket at a steady rate and wait for their results
    Pipeline(pipeline::Pipeline),
}

/// How long to measure: `20s`, `2m`, or a number of seconds; at most a day.
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
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Hops(hops) => hops.run().await,
            Self::Model(model) => model.run(),
            Self::Pipeline(pipeline) => pipeline.run().await,
        }
    }
}
