//! Ports and plain HTTP on loopback.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

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

/// The body of a GET over plain HTTP.
///
/// # Errors
/// Nothing listens there, or the answer is not HTTP or not 200.
pub fn http_get(address: &str, path: &str) -> Result<String> {
    let (status, body) = get(address, path)?;
    ensure!(status == 200, "{path} of {address}: status {status}");
    Ok(body)
}

/// The status of a GET over plain HTTP.
///
/// # Errors
/// Nothing listens there, or the answer is not HTTP.
pub fn http_status(address: &str, path: &str) -> Result<u16> {
    Ok(get(address, path)?.0)
}

fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // Version 1.0: the answer ends with the connection and has no chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
