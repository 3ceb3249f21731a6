//! Accepting connections, up to a limit.

use crate::wire::{self, Shared};
use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// The least time between two log lines about refused connections.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Serves at most `most` connections at a time; never returns unless the listener is unusable.
pub(crate) async fn run(listener: TcpListener, most: usize, shared: Arc<Shared>) {
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
                Ok(permit) => {
                    let shared = shared.clone();
                    connections.spawn(async move {
                        if let Err(error) = wire::serve(stream, shared).await {
                            tracing::debug!(%peer, %error, "connection closed");
                        }
                        drop(permit);
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

/// Connections that were refused since the last log line, and its time.
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
