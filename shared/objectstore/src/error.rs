//! Why a store does not start.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a store doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings can't work: mend them and start again.
    #[error("{0}")]
    Settings(String),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("another store uses the folder {}", root.display())]
    InUse { root: PathBuf },
    #[error("cannot use the folder {}", root.display())]
    Folder {
        root: PathBuf,
        #[source]
        source: io::Error,
    },
}
