//! `sightline bench hops`: what the loop costs.

mod measure;

use crate::output::line;
use anyhow::ensure;
use clap::Args;
use sightline_stream::{KafkaSettings, LoopSettings};

#[derive(Args)]
pub struct Hops {
    /// One JSON object instead of a sentence
    #[arg(long)]
    json: bool,
    /// Another name for --kafka-bootstrap
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    #[command(flatten)]
    settings: measure::Settings,
    #[command(flatten)]
    kafka: KafkaSettings,
    #[command(flatten)]
    looping: LoopSettings,
}

impl Hops {
    pub async fn run(mut self) -> anyhow::Result<()> {
        if let Some(bootstrap) = self.bootstrap {
            self.kafka.bootstrap = bootstrap;
        }
        let report = measure::run(&self.kafka, &self.looping, &self.settings).await?;
        if self.json {
            line(serde_json::to_string(&report)?);
        } else {
            line(&report);
        }
        let (sent, came) = (report.sent, report.records);
        ensure!(sent == came, "{sent} records went in and {came} came out");
        Ok(())
    }
}
