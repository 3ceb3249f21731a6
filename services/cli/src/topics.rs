//! `sightline topics`: the pipeline's topics on any Kafka.

use crate::output::line;
use clap::{Args, Subcommand};
use sightline_contracts::Topic;
use sightline_stream::{
    KafkaSettings,
    admin::{TopicSpec, create_topics},
};

#[derive(Subcommand)]
pub enum Topics {
    /// Create what is not there yet; what is there stays as it is
    Create(Create),
}

#[derive(Args)]
pub struct Create {
    /// Partitions of each topic: as many as infer is ever to have instances
    #[arg(long, env = "SIGHTLINE_PARTITIONS", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Copies of each partition, at most as many as there are brokers
    #[arg(long, env = "SIGHTLINE_REPLICATION_FACTOR", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=9))]
    replication_factor: i32,
    /// Text put before the name of every topic
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    #[command(flatten)]
    kafka: KafkaSettings,
}

impl Topics {
    pub async fn run(self) -> anyhow::Result<()> {
        let Self::Create(create) = self;
        let spec = |topic: &Topic| {
            TopicSpec::of(
                *topic,
                &create.topic_prefix,
                create.partitions,
                create.replication_factor,
            )
        };
        let specs: Vec<_> = Topic::ALL.iter().map(spec).collect();
        let created = create_topics(&create.kafka, &specs).await?;
        for TopicSpec {
            name,
            partitions,
            config,
            ..
        } in specs
        {
            let did = if created.contains(&name) {
                "created"
            } else {
                "exists "
            };
            let config: Vec<_> = config
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            line(format_args!(
                "{did}  {name}  partitions={partitions} {}",
                config.join(" ")
            ));
        }
        Ok(())
    }
}
