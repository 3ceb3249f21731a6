//! Why a store does not start.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a store doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error("{0}")]
    Settings(String),
    /// The address can't be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another store, of this process or another, uses the folder.
    #[error("another store uses the folder {}", root.display())]
    InUse {
        /// The folder.
        root: PathBuf,
    },
    /// The folder can't be read or written, or a record in it is damaged.
    #[error("cannot use the folder {}", root.display())]
    Folder {
        /// The folder.
        root: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
}
