//! A client for `/readyz`: the health check of a container that has neither a shell nor curl.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Shorter than the time-out of the images' health checks, so that the reason is printed before that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the process that listens at `listen` for `/readyz`. An unspecified address (`0.0.0.0`, `::`) stands for
/// loopback.
///
/// # Errors
/// Why the process is not ready, or why it could not be asked.
pub fn ask(listen: SocketAddr) -> Result<(), String> {
    let host = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let url = format!("http://{}/readyz", SocketAddr::new(host, listen.port()));
    match ureq::get(&url).timeout(PATIENCE).call() {
        Ok(_) => Ok(()),
        Err(ureq::Error::Status(_, answer)) => Err(answer.into_string().unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    }
}
