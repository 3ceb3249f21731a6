//! Limits that keep one client from affecting the others.

use super::clients::{Rig, WAIT};
use sightline_broker::{Broker, Config};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// ApiVersions 0, correlation id 5, no client id.
const ASK: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff];

fn start(change: impl FnOnce(&mut Config)) -> Rig {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::new(data.path());
    change(&mut config);
    let broker = Some(Broker::start(config).unwrap());
    Rig { data, broker }
}

fn connect(rig: &Rig) -> TcpStream {
    let stream = TcpStream::connect(rig.bootstrap()).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

/// Whether the broker answers a request on this connection; it has closed it, if not.
fn is_served(stream: &mut TcpStream) -> bool {
    let mut length = [0; 4];
    if stream.write_all(&ASK).is_err() || stream.read_exact(&mut length).is_err() {
        return false;
    }
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    true
}

/// Waits until the broker closes the connection.
fn closed(stream: &mut TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("still open: {other:?}"),
    }
}

/// The most memory that this process has had, in bytes, touched or not.
#[cfg(target_os = "linux")]
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmPeak:")).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_eighteen_bytes_does_not_ask_for_150_gb() {
    let rig = start(|_| ());
    let mut good = connect(&rig);
    assert!(is_served(&mut good));
    let before = most_memory();
    // Metadata 0 for 2,147,483,647 topics of 72 bytes each.
    let frame = [
        0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
    ];
    let mut bad = connect(&rig);
    bad.write_all(&frame).unwrap();
    closed(&mut bad);
    // Other tests of this process run beside this one.
    let grown = most_memory() - before;
    assert!(grown < 4 << 30, "{grown} bytes");
    assert!(is_served(&mut good));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed() {
    let rig = start(|config| config.max_connections = 3);
    let mut open: Vec<_> = (0..3).map(|_| connect(&rig)).collect();
    assert!(open.iter_mut().all(is_served));
    closed(&mut connect(&rig));
    assert!(open.iter_mut().all(is_served), "the others live on");
    open.pop();
    let begun = Instant::now();
    while !is_served(&mut connect(&rig)) {
        assert!(
            begun.elapsed() < WAIT,
            "a place that is left is taken again"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_ends_its_connection_in_time_and_silence_does_not() {
    let rig = start(|config| config.request_timeout = Duration::from_millis(100));
    let mut silent = connect(&rig);
    let mut asked = connect(&rig);
    assert!(is_served(&mut asked));
    let mut half = connect(&rig);
    let begun = Instant::now();
    half.write_all(&ASK[..9]).unwrap();
    closed(&mut half);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(is_served(&mut silent) && is_served(&mut asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_silent_too_long_is_closed() {
    let rig = start(|config| config.idle_timeout = Duration::from_millis(100));
    let mut never = connect(&rig);
    let mut once = connect(&rig);
    assert!(is_served(&mut once));
    closed(&mut never);
    closed(&mut once);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_ends_its_connection() {
    let rig = start(|config| config.idle_timeout = Duration::from_millis(200));
    let mut stream = connect(&rig);
    stream.set_write_timeout(Some(WAIT)).unwrap();
    // More answers than the kernel keeps for a client; the broker stops reading when it can't write.
    let asks = ASK.repeat(1000);
    let ended = (0..10_000).find_map(|_| stream.write_all(&asks).err());
    let kind = ended.map(|e| e.kind());
    assert!(
        matches!(
            kind,
            Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        ),
        "{kind:?}"
    );
}
