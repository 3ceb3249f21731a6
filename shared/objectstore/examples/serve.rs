//! `serve ADDRESS FOLDER`: the store alone, its notifications on stdout; for trying clients by hand, on loopback.

use bytes::Bytes;
use sightline_objectstore::{Config, Credentials, Notifier, ObjectStore};
use std::sync::Arc;

struct Stdout;

#[async_trait::async_trait]
impl Notifier for Stdout {
    async fn notify(
        &self,
        key: &str,
        event: Bytes,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        println!("{key} {}", String::from_utf8_lossy(&event));
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve ADDRESS FOLDER".into());
    };
    let notifier: Arc<dyn Notifier> = Arc::new(Stdout);
    let config = Config {
        listen: listen.parse()?,
        notifier: Some(notifier),
        ..Config::new(folder, Credentials::default())
    };
    let store = ObjectStore::start(config).await?;
    eprintln!("serving on http://{}", store.local_addr());
    tokio::signal::ctrl_c().await?;
    store.shutdown().await;
    Ok(())
}
