//! Ports and plain HTTP on loopback.

use crate::wait::eventually_within;
use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    ops::Range,
    time::Duration,
};

/// Below the ports that Linux assigns to clients, so that no connection takes the port before the server does.
const PORTS: Range<u16> = 10_000..30_000;
/// The ports that this process has been given.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that was free a moment ago. A process never gets the same one twice.
///
/// # Errors
/// All ports that were tried are taken.
pub fn free_port() -> std::io::Result<u16> {
    let mut given = GIVEN.lock();
    let mut last = None;
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if given.contains(&port) {
            continue;
        }
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => {
                given.insert(port);
                return Ok(port);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| ErrorKind::AddrInUse.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_given_once() {
        let ports: BTreeSet<_> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 200);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}
