//! Taking connections, as many as there may be.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::wire::{self, Shared};

/// How often the log says that connections are turned away.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Serves at most `most` connections at a time, for ever.
pub async fn run(listener: TcpListener, most: usize, shared: Arc<Shared>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "can't listen");
            return;
        }
    };
    let free = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
    let mut turned_away = TurnedAway::default();
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match free.clone().try_acquire_owned() {
                Ok(place) => {
                    let shared = shared.clone();
                    connections.spawn(async move {
                        if let Err(error) = wire::serve(stream, shared).await {
                            tracing::debug!(%peer, %error, "connection closed");
                        }
                        drop(place);
                    });
                }
                Err(_) => turned_away.count(most),
            },
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Connections that were closed at once, and when the log last said so.
#[derive(Default)]
struct TurnedAway {
    count: u64,
    told: Option<Instant>,
}

impl TurnedAway {
    fn count(&mut self, most: usize) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= WARN_EVERY) {
            let count = std::mem::take(&mut self.count);
            tracing::warn!(
                count,
                most,
                "connections are closed as they come: raise --max-connections, or end some clients"
            );
            self.told = Some(Instant::now());
        }
    }
}
