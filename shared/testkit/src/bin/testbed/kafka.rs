//! `testbed kafka`.

use crate::command::Tested;
use anyhow::Result;
use clap::Subcommand;
use sightline_testkit::servers::{Kafka, KafkaSettings};
use std::{path::PathBuf, process::ExitCode};

/// Apache Kafka
///
/// Needs Java 17 or later and Maven; as root on Debian it installs them when they are missing.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts brokers, runs COMMAND, stops them and exits with COMMAND's code
    ///
    /// COMMAND finds their address in SIGHTLINE_TEST_BOOTSTRAP; with --sasl and --tls it has the services' settings for
    /// them too. Their data is removed unless --data was given.
    Run {
        #[command(flatten)]
        settings: KafkaSettings,
        #[command(flatten)]
        tested: Tested,
    },
    /// Starts the brokers in the background and prints their address
    ///
    /// A folder that an earlier start has filled is started again with its ports and its records; its settings then
    /// stay as they were.
    Start {
        #[command(flatten)]
        settings: KafkaSettings,
    },
    /// Stops the brokers of a data folder, by pid
    Stop { data: PathBuf },
    /// Only fills the cache, and prints the folder of Kafka's jars
    Fetch,
}

impl Command {
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Self::Run { settings, tested } => {
                let tested = tested.prepared()?;
                let kafka = Kafka::start(&settings)?;
                return tested.run(kafka.variables());
            }
            Self::Start { settings } => {
                let kafka = Kafka::start(&settings)?;
                eprintln!(
                    "kafka: stop it with: tests/kafka stop {}",
                    kafka.data().display()
                );
                println!("{}", kafka.bootstrap());
                kafka.leave_running();
            }
            Self::Stop { data } => Kafka::stop(&data)?,
            Self::Fetch => println!("{}", Kafka::fetch()?.display()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
