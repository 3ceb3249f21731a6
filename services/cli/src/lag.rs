//! `sightline lag` shows the consumer lag of the services.

use crate::output::line;
use clap::Args;
use comfy_table::{Table, presets};
use sightline_contracts::Topic;
use sightline_stream::{
    KafkaSettings,
    admin::{self, PartitionLag},
};

/// Each service's consumer group, which has the service's name, and its input topic.
const GROUPS: [(&str, Topic); 4] = [
    ("ingest", Topic::Ingest),
    ("preprocess", Topic::Images),
    ("infer", Topic::Tensors),
    ("postprocess", Topic::Predictions),
];

#[derive(Args)]
pub(crate) struct Lag {
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Prefix of every topic's and group's name
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    #[command(flatten)]
    kafka: KafkaSettings,
}

impl Lag {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut lags = Vec::new();
        for (group, topic) in GROUPS {
            let full = |name: &str| format!("{}{name}", self.topic_prefix);
            lags.extend(admin::lag(&self.kafka, &full(group), &full(topic.name())).await?);
        }
        if self.json {
            for lag in &lags {
                line(serde_json::to_string(lag)?);
            }
        } else {
            line(table(&lags).trim_fmt());
        }
        Ok(())
    }
}

fn table(lags: &[PartitionLag]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "group",
        "topic",
        "partition",
        "committed",
        "end",
        "lag",
    ]);
    for lag in lags {
        let committed = lag
            .committed
            .map_or("-".to_owned(), |offset| offset.to_string());
        table.add_row([
            lag.group.clone(),
            lag.topic.clone(),
            lag.partition.to_string(),
            committed,
            lag.end.to_string(),
            lag.lag.to_string(),
        ]);
    }
    table
}
