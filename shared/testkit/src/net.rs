//! Ports on loopback.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::wait::eventually_within;

/// A port that nobody listened on a moment ago.
///
/// # Errors
/// The kernel has none to give.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until something accepts connections at `address`; panics after `limit`.
#[track_caller]
pub fn await_port(address: &str, limit: Duration) {
    eventually_within(limit, &format!("nothing listens on {address}"), || {
        TcpStream::connect(address).ok()
    });
}
