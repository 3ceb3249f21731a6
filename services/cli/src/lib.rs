//! The binary `sightline`: all four services in one process with an embedded Kafka broker and an embedded S3 store, and
//! tools for operators that work with any Kafka.
//!
//! [`embedded`] is the whole pipeline. The command `classify` runs it once for some images, and `up` runs it until it is
//! stopped. Each of the other commands has a module.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod bench;
mod broker;
mod calibrate;
mod classify;
mod dead_letters;
pub mod embedded;
mod files;
mod health;
mod lag;
mod output;
mod terminal;
mod topics;
mod up;

#[doc = include_str!("../../../ARCHITECTURE.md")]
pub mod architecture {}

use clap::{Parser, Subcommand};
use sightline_service::scheduling;
use sightline_telemetry::{LogFormat, Logs, TraceSettings};
use std::process::ExitCode;

/// Classifies images as they arrive in S3.
#[derive(Parser)]
#[command(name = "sightline", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged on stderr: a level, or directives such as `info,sightline_stream=debug` [default: info for `up` and
    /// `broker`, error for other commands]
    #[arg(long, env = "SIGHTLINE_LOG", global = true)]
    log: Option<String>,
    /// Format of log lines; auto is pretty on a terminal and JSON otherwise
    #[arg(
        long,
        env = "SIGHTLINE_LOG_FORMAT",
        value_enum,
        default_value = "auto",
        global = true
    )]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Classify images from files, folders and s3:// prefixes
    Classify(classify::Classify),
    /// Run the whole pipeline in one process: a broker, an S3 store and the four services
    Up(up::Up),
    /// Measure the calibration ranges of a model, for --precision int8
    Calibrate(calibrate::Calibrate),
    /// Ask a running `up` whether it is ready: exit status 0, or 1 with the reason
    Health(health::Health),
    /// Run the embedded Kafka broker alone
    Broker(broker::Broker),
    /// Create the pipeline's topics on a Kafka cluster
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Show the consumer lag of the services, by partition
    Lag(lag::Lag),
    /// List, show and replay records that could not be processed
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Measure the exactly-once loop, the model or the pipeline
    #[command(subcommand)]
    Bench(bench::Bench),
}

impl Command {
    fn default_log(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Broker(_) => "info",
            _ => "error",
        }
    }

    fn traces(&self) -> Option<&TraceSettings> {
        match self {
            Self::Up(up) => Some(up.traces()),
            _ => None,
        }
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Classify(command) => command.run().await,
            Self::Up(command) => command.run().await.map(|()| ExitCode::SUCCESS),
            Self::Calibrate(command) => command.run().map(|()| ExitCode::SUCCESS),
            Self::Health(command) => command.run().map(|()| ExitCode::SUCCESS),
            Self::Broker(command) => command.run().await.map(|()| ExitCode::SUCCESS),
            Self::Topics(command) => command.run().await.map(|()| ExitCode::SUCCESS),
            Self::Lag(command) => command.run().await.map(|()| ExitCode::SUCCESS),
            Self::DeadLetters(command) => command.run().await.map(|()| ExitCode::SUCCESS),
            Self::Bench(command) => command.run().await.map(|()| ExitCode::SUCCESS),
        }
    }
}

/// Runs the command that the arguments name. Exits with 0 on success, with 1 if the command failed or an image could not be
/// classified, and with 2 if the arguments or settings are wrong.
pub fn main() -> ExitCode {
    if let Some(status) = sightline_preprocess::decode_if_asked() {
        return status;
    }
    let cli = Cli::parse();
    let logs = Logs {
        directives: cli.log.as_deref().unwrap_or(cli.command.default_log()),
        format: cli.log_format,
    };
    let _traces = logs.start("sightline", cli.command.traces());
    scheduling::batch();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    // The command's future is large, so it is kept on the heap.
    let outcome = runtime.block_on(Box::pin(cli.command.run()));
    // A client library that still blocks must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let settings = |cause: &(dyn std::error::Error + 'static)| {
        matches!(
            cause.downcast_ref(),
            Some(sightline_stream::Error::Settings(_))
        ) || matches!(
            cause.downcast_ref(),
            Some(sightline_objectstore::Error::Settings(_))
        )
    };
    if error.chain().any(settings) {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}
