//! Measures what the loop costs; `sightline bench hops` is the same.

use clap::Parser;
use sightline_stream::{KafkaSettings, LoopSettings, hops};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    kafka: KafkaSettings,
    #[command(flatten)]
    looping: LoopSettings,
    #[command(flatten)]
    hops: hops::Settings,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let report = hops::run(&arguments.kafka, &arguments.looping, &arguments.hops).await?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
