//! `sightline bench`: what the loop costs, what the model takes, and the whole pipeline.

mod hops;
mod model;
mod percentile;
mod pipeline;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Bench {
    /// Pass records through stages of the exactly-once loop, on topics of its own
    Hops(hops::Hops),
    /// Compute batches on this machine's processor
    Model(model::Model),
    /// Put images into a running pipeline's bucket at a steady rate and wait for their results
    Pipeline(pipeline::Pipeline),
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
