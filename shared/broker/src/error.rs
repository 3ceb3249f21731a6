//! Why a broker doesn't start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another broker works on the same folder: stop it, or take another folder.
    #[error("{} is in use by another broker", .0.display())]
    InUse(PathBuf),
    /// The address is taken or isn't ours: take another.
    #[error("can't listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    /// The data can't be read or written.
    #[error("can't use the data in {}", path.display())]
    Data { path: PathBuf, source: io::Error },
    /// A setting makes no sense.
    #[error("advertised address {0} is not host:port")]
    Advertised(String),
    /// The operating system gives no threads.
    #[error("can't start threads")]
    Threads(#[source] io::Error),
}
