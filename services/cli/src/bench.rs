//! `sightline bench`: what the loop costs.

use clap::{Args, Subcommand};
use sightline_stream::{KafkaSettings, LoopSettings, hops};

#[derive(Subcommand)]
pub enum Bench {
    /// Pass records through stages of the exactly-once loop, on topics of its own
    Hops(Hops),
}

#[derive(Args)]
pub struct Hops {
    /// One JSON object instead of a sentence
    #[arg(long)]
    json: bool,
    /// Another name for --kafka-bootstrap
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    #[command(flatten)]
    settings: hops::Settings,
    #[command(flatten)]
    kafka: KafkaSettings,
    #[command(flatten)]
    looping: LoopSettings,
}

impl Bench {
    pub async fn run(self) -> anyhow::Result<()> {
        let Self::Hops(Hops {
            json,
            bootstrap,
            settings,
            mut kafka,
            looping,
        }) = self;
        if let Some(bootstrap) = bootstrap {
            kafka.bootstrap = bootstrap;
        }
        let report = hops::run(&kafka, &looping, &settings).await?;
        if json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!("{report}");
        }
        Ok(())
    }
}
