//! `sightline topics` creates the pipeline's topics on any Kafka.

use crate::output::line;
use clap::{Args, Subcommand};
use sightline_contracts::Topic;
use sightline_stream::{
    KafkaSettings,
    admin::{TopicSpec, create_topics},
};

#[derive(Subcommand)]
pub(crate) enum Topics {
    /// Create the topics that do not exist yet; existing topics are not changed
    Create(Create),
}

#[derive(Args)]
pub(crate) struct Create {
    /// Partitions of each topic; infer can use at most this many instances
    #[arg(long, env = "SIGHTLINE_PARTITIONS", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Replicas of each partition, at most as many as there are brokers
    #[arg(long, env = "SIGHTLINE_REPLICATION_FACTOR", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=9))]
    replication_factor: i32,
    /// Prefix of every topic's name
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    #[command(flatten)]
    kafka: KafkaSettings,
}

impl Topics {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
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
