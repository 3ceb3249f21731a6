//! The broker's settings.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// When written data is forced to the disk.
///
/// A killed process loses nothing in any case, since the operating system holds what was written. The choice matters for
/// power cuts and kernel crashes. The default is `never`, as in Kafka: the operating system decides when to write back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Fsync {
    /// When the operating system writes back.
    #[default]
    Never,
    /// Every `fsync_interval`.
    Interval,
    /// Before every acknowledgement.
    Always,
}

/// Everything `Broker::start` needs. `Config::new(dir)` is a broker on a free port of loopback.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one
    #[arg(
        long = "listen",
        env = "SIGHTLINE_BROKER_LISTEN",
        default_value = "127.0.0.1:9092",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,

    /// `host:port` told to clients; by default the address they reached
    #[arg(long, env = "SIGHTLINE_BROKER_ADVERTISED", value_name = "HOST:PORT")]
    pub advertised: Option<String>,

    /// Folder that holds all data
    #[arg(
        long = "data",
        env = "SIGHTLINE_BROKER_DATA",
        default_value = "data/broker",
        value_name = "DIR"
    )]
    pub data: PathBuf,

    /// When written data is forced to the disk
    #[arg(
        long,
        env = "SIGHTLINE_BROKER_FSYNC",
        value_enum,
        default_value = "never"
    )]
    pub fsync: Fsync,

    /// Time between two syncs with `--fsync interval`
    #[arg(long, env = "SIGHTLINE_BROKER_FSYNC_INTERVAL", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub fsync_interval: Duration,

    /// Time between two rounds of retention and compaction
    #[arg(long, env = "SIGHTLINE_BROKER_MAINTENANCE_INTERVAL", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub maintenance_interval: Duration,

    /// How long a new consumer group waits for further members
    #[arg(long, env = "SIGHTLINE_BROKER_INITIAL_REBALANCE_DELAY", default_value = "0s", value_parser = duration, value_name = "DURATION")]
    pub initial_rebalance_delay: Duration,

    /// Largest transaction.timeout.ms a producer may ask for
    #[arg(long, env = "SIGHTLINE_BROKER_MAX_TRANSACTION_TIMEOUT", default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub max_transaction_timeout: Duration,

    /// Threads that serve connections
    #[arg(
        long,
        env = "SIGHTLINE_BROKER_THREADS",
        default_value_t = 2,
        value_name = "N"
    )]
    pub threads: usize,

    /// Most connections at a time; one more is closed as soon as it is made
    #[arg(
        long,
        env = "SIGHTLINE_BROKER_MAX_CONNECTIONS",
        default_value_t = 1000,
        value_name = "N"
    )]
    pub max_connections: usize,

    /// Time from the first byte of a request to its last; past it the connection is closed
    #[arg(long, env = "SIGHTLINE_BROKER_REQUEST_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub request_timeout: Duration,

    /// How long a connection may be silent between two requests, or leave an answer untaken; then it is closed
    #[arg(long, env = "SIGHTLINE_BROKER_IDLE_TIMEOUT", default_value = "10m", value_parser = duration, value_name = "DURATION")]
    pub idle_timeout: Duration,
}

/// `10ms`, `2m`; a number alone is milliseconds, which is how durations were written before.
fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

impl Config {
    /// Defaults, on a free port of 127.0.0.1.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertised: None,
            data: data.into(),
            fsync: Fsync::default(),
            fsync_interval: Duration::from_secs(1),
            maintenance_interval: Duration::from_secs(15),
            initial_rebalance_delay: Duration::ZERO,
            max_transaction_timeout: Duration::from_mins(15),
            threads: 2,
            max_connections: 1000,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(10),
        }
    }
}
