//! SIGTERM and SIGINT: the first drains, the second leaves at once.

use std::{io, process};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Exit status of a process that was told twice to stop: 128 + SIGINT, as a shell has it.
const INTERRUPTED: i32 = 130;

/// Cancels [`token`](Self::token) at the first signal and exits the process at the second; dropping it stops listening.
pub struct Signals {
    /// For all that is to stop.
    pub token: CancellationToken,
    _listener: JoinSet<()>,
}

impl Signals {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the system does not let this process listen for signals.
    pub fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = CancellationToken::new();
        let cancel = token.clone();
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::info!("stopping: finishing what is in flight; a second signal stops at once");
            cancel.cancel();
            either(&mut terminate, &mut interrupt).await;
            process::exit(INTERRUPTED);
        });
        Ok(Self {
            token,
            _listener: listener,
        })
    }
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}
