//! Errors of starting a broker.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a broker can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another broker uses the folder: stop it, or choose another folder.
    #[error("{} is in use by another broker", .0.display())]
    InUse(PathBuf),
    /// The address is in use or does not belong to this machine: choose another.
    #[error("can't listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    /// The data can't be read or written.
    #[error("can't use the data in {}", path.display())]
    Data { path: PathBuf, source: io::Error },
    /// The advertised address is not `host:port`.
    #[error("advertised address {0} is not host:port")]
    Advertised(String),
    /// The operating system refuses threads.
    #[error("can't start threads")]
    Threads(#[source] io::Error),
}
