//! `sightline broker` runs the embedded broker alone.

use anyhow::Context;
use clap::Args;
use sightline_service::Signals;

#[derive(Args)]
pub(crate) struct Broker {
    #[command(flatten)]
    config: sightline_broker::Config,
}

impl Broker {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen().context("can't listen for signals")?;
        let data = self.config.data.clone();
        let broker =
            sightline_broker::Broker::start(self.config).context("can't start the broker")?;
        eprintln!("Kafka {}, data in {}", broker.bootstrap(), data.display());
        signals.token.cancelled().await;
        broker.shutdown().await;
        Ok(())
    }
}
