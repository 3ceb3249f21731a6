//! `sightline bench hops` measures the exactly-once loop.

mod measure;

use crate::output::line;
use anyhow::ensure;
use clap::Args;
use sightline_stream::{KafkaSettings, LoopSettings};

#[derive(Args)]
pub(crate) struct BenchHops {
    /// Print one JSON object instead of a sentence
    #[arg(long)]
    json: bool,
    /// Another name for --kafka-bootstrap
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    #[command(flatten)]
    workload: measure::Workload,
    #[command(flatten)]
    kafka: KafkaSettings,
    #[command(flatten)]
    looping: LoopSettings,
}

impl BenchHops {
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        if let Some(bootstrap) = self.bootstrap {
            self.kafka.bootstrap = bootstrap;
        }
        let report = measure::run(&self.kafka, &self.looping, &self.workload).await?;
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
