//! `sightline broker` runs the embedded broker alone.

use anyhow::Context;
use clap::Args;
use sightline_broker::Config;
use sightline_service::Signals;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Broker {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    former: Former,
}

/// Former names of variables, in milliseconds.
#[derive(Args)]
struct Former {
    #[arg(long, hide = true, env = "SIGHTLINE_BROKER_FSYNC_INTERVAL_MS")]
    fsync_interval_ms: Option<u64>,
    #[arg(long, hide = true, env = "SIGHTLINE_BROKER_MAINTENANCE_INTERVAL_MS")]
    maintenance_interval_ms: Option<u64>,
    #[arg(long, hide = true, env = "SIGHTLINE_BROKER_INITIAL_REBALANCE_DELAY_MS")]
    initial_rebalance_delay_ms: Option<u64>,
    #[arg(long, hide = true, env = "SIGHTLINE_BROKER_MAX_TRANSACTION_TIMEOUT_MS")]
    max_transaction_timeout_ms: Option<u64>,
    #[arg(long, hide = true, env = "SIGHTLINE_BROKER_REQUEST_TIMEOUT_MS")]
    request_timeout_ms: Option<u64>,
    #[arg(long, hide = true, env = "SIGHTLINE_BROKER_IDLE_TIMEOUT_MS")]
    idle_timeout_ms: Option<u64>,
}

impl Former {
    fn apply(self, config: &mut Config) {
        let all = [
            (self.fsync_interval_ms, &mut config.fsync_interval),
            (
                self.maintenance_interval_ms,
                &mut config.maintenance_interval,
            ),
            (
                self.initial_rebalance_delay_ms,
                &mut config.initial_rebalance_delay,
            ),
            (
                self.max_transaction_timeout_ms,
                &mut config.max_transaction_timeout,
            ),
            (self.request_timeout_ms, &mut config.request_timeout),
            (self.idle_timeout_ms, &mut config.idle_timeout),
        ];
        for (former, duration) in all {
            if let Some(milliseconds) = former {
                *duration = Duration::from_millis(milliseconds);
            }
        }
    }
}

impl Broker {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen().context("can't listen for signals")?;
        let mut config = self.config;
        self.former.apply(&mut config);
        let data = config.data.clone();
        let broker = sightline_broker::Broker::start(config).context("can't start the broker")?;
        eprintln!("Kafka {}, data in {}", broker.bootstrap(), data.display());
        signals.token.cancelled().await;
        broker.shutdown().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        broker: Broker,
    }

    #[test]
    fn durations_have_units_and_their_former_names_milliseconds() {
        let flags = ["broker", "--idle-timeout", "2m", "--request-timeout", "500"];
        let former = ["--fsync-interval-ms", "250"];
        let line = Line::try_parse_from(flags.into_iter().chain(former)).unwrap();
        let Broker { mut config, former } = line.broker;
        former.apply(&mut config);
        assert_eq!(config.idle_timeout, Duration::from_mins(2));
        assert_eq!(config.request_timeout, Duration::from_millis(500));
        assert_eq!(config.fsync_interval, Duration::from_millis(250));
    }
}
