//! Real servers around a command: `testbed kafka run -- COMMAND` starts Kafka, runs the command with the environment
//! that finds it, stops Kafka and exits with the command's code. Calls nest, each server finding those outside.

mod command;
mod kafka;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use command::Tested;
use sightline_testkit::{
    Bootstrap, free_port,
    servers::{Binaries, Minio, Prometheus, Services, Versitygw},
};
use std::{path::PathBuf, process::ExitCode, time::Duration};

const SERVICES_START_WITHIN: Duration = Duration::from_secs(60);

/// Real servers on loopback for the tests.
///
/// Programs that are missing are fetched once by package name into ${XDG_CACHE_HOME:-~/.cache}/sightline.
#[derive(Debug, Parser)]
#[command(name = "testbed")]
enum Testbed {
    #[command(subcommand)]
    Kafka(kafka::Command),
    /// MinIO with the bucket 'images', whose events go to the Kafka topic 'ingest'
    ///
    /// Needs Go 1.24 or later to build it, four minutes on two cores, and curl.
    #[command(subcommand)]
    Minio(Store),
    /// VersityGW with the bucket 'images', whose events go to the Kafka topic 'ingest'
    ///
    /// Needs Go 1.24 or later to build it, two minutes on two cores, curl, and a file system with extended attributes.
    #[command(subcommand)]
    Versitygw(Store),
    /// The four services, a process each, against a Kafka and an S3 that run already
    #[command(subcommand)]
    Services(ServicesCommand),
    /// Prometheus, which scrapes the services every second
    ///
    /// Debian's package, unpacked and not installed.
    #[command(subcommand)]
    Prometheus(PrometheusCommand),
    /// Prints ports that are free, a line each
    Ports {
        #[arg(default_value_t = 1)]
        count: usize,
    },
}

#[derive(Debug, Subcommand)]
enum Store {
    /// Starts a server, runs COMMAND, stops the server, removes its data and exits with COMMAND's code
    ///
    /// COMMAND finds the server as any AWS client does: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY are set.
    Run {
        /// Where the events go; the topic 'ingest' must be there. 'testbed kafka run' sets the variable
        #[arg(long, value_name = "HOST:PORT", env = Bootstrap::VARIABLE)]
        kafka: String,
        #[command(flatten)]
        tested: Tested,
    },
    /// Only fills the cache, and prints where the program is
    Fetch,
}

#[derive(Debug, Subcommand)]
enum ServicesCommand {
    /// Creates the topics, starts the services, runs COMMAND when all are ready, stops them and exits with its code
    ///
    /// COMMAND finds the binaries in its PATH, and where each service serves its metrics in
    /// SIGHTLINE_TEST_HTTP="ingest=HOST:PORT …". The services and 'sightline' are built for release. With
    /// SIGHTLINE_TEST_BINARIES nothing is built: a folder that holds the five binaries, or the file
    /// sightline-under-test, which the tests build and which is each of them by the name it is called by.
    ///
    /// S3 is what the AWS variables name, as 'testbed minio run' sets them. All other settings are the services' own
    /// environment variables.
    Run(ServicesSettings),
}

#[derive(Args, Debug)]
struct ServicesSettings {
    /// Partitions of each topic
    #[arg(long, value_name = "N", default_value_t = 3)]
    partitions: u16,
    /// Kafka, before SIGHTLINE_TEST_BOOTSTRAP, which 'testbed kafka run' sets
    #[arg(long, value_name = "HOST:PORT", env = "SIGHTLINE_KAFKA_BOOTSTRAP")]
    kafka: Option<String>,
    #[command(flatten)]
    tested: Tested,
}

#[derive(Debug, Subcommand)]
enum PrometheusCommand {
    /// Starts it, runs COMMAND with its URL in SIGHTLINE_TEST_PROMETHEUS, stops it and exits with COMMAND's code
    Run {
        /// Files with rules to load, with '*' for any name
        #[arg(long, value_name = "PATH")]
        rules: Option<PathBuf>,
        /// What it scrapes: "NAME=HOST:PORT …", as 'testbed services run' sets it
        #[arg(long, value_name = "TARGETS", env = Services::VARIABLE, default_value = "")]
        targets: String,
        #[command(flatten)]
        tested: Tested,
    },
    /// Only fills the cache, and prints the folder of 'prometheus' and 'promtool'
    Fetch,
}

fn main() -> ExitCode {
    match run(Testbed::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(testbed: Testbed) -> Result<ExitCode> {
    match testbed {
        Testbed::Kafka(command) => return command.run(),
        Testbed::Minio(Store::Run { kafka, tested }) => {
            let tested = tested.prepared()?;
            let minio = Minio::start(&Bootstrap::new(kafka))?;
            return tested.run(minio.variables());
        }
        Testbed::Minio(Store::Fetch) => println!("{}", Minio::fetch()?.display()),
        Testbed::Versitygw(Store::Run { kafka, tested }) => {
            let tested = tested.prepared()?;
            let versitygw = Versitygw::start(&Bootstrap::new(kafka))?;
            return tested.run(versitygw.variables());
        }
        Testbed::Versitygw(Store::Fetch) => println!("{}", Versitygw::fetch()?.display()),
        Testbed::Services(ServicesCommand::Run(settings)) => return settings.run(),
        Testbed::Prometheus(PrometheusCommand::Run {
            rules,
            targets,
            tested,
        }) => {
            let tested = tested.prepared()?;
            let prometheus = Prometheus::start(&jobs(&targets)?, rules.as_deref())?;
            return tested.run(prometheus.variables());
        }
        Testbed::Prometheus(PrometheusCommand::Fetch) => {
            println!("{}", Prometheus::fetch()?.display());
        }
        Testbed::Ports { count } => {
            for _ in 0..count {
                println!("{}", free_port()?);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl ServicesSettings {
    fn run(self) -> Result<ExitCode> {
        let kafka = self.kafka.map(Bootstrap::new).or_else(Bootstrap::from_env);
        let kafka = kafka.context("neither --kafka nor SIGHTLINE_TEST_BOOTSTRAP names a Kafka")?;
        let tested = self.tested.prepared()?;
        let binaries = Binaries::named_or_built()?;
        let services = Services::start(binaries, &kafka, self.partitions, SERVICES_START_WITHIN)?;
        eprintln!("services: ready");
        tested.run_with_path(&services.path()?, services.variables())
    }
}

/// `ingest=127.0.0.1:1 …` as jobs and addresses.
fn jobs(targets: &str) -> Result<Vec<(String, String)>> {
    targets
        .split_whitespace()
        .map(|target| {
            let (job, address) = target
                .split_once('=')
                .with_context(|| format!("the target {target} is no NAME=HOST:PORT"))?;
            Ok((job.to_owned(), address.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Testbed::command().debug_assert();
    }

    #[test]
    fn targets_have_names() {
        let both = jobs("infer=127.0.0.1:1 ingest=127.0.0.1:2").unwrap();
        assert_eq!(both[1], ("ingest".to_owned(), "127.0.0.1:2".to_owned()));
        assert!(jobs("127.0.0.1:1").is_err());
    }
}
