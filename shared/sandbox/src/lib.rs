//! Processes for work on untrusted bytes: without files, network or secrets, with bounded memory and time.
//!
//! A decoder that is given malicious bytes may take all the memory, loop forever, abort, or run an attacker's code. In
//! a process of its own it can't harm the process that holds Kafka's transactions. The [`Spawner`] starts the running
//! program again under the name [`NAME`]; its `main` must begin with [`serve_if_asked`]. A [`Worker`] takes one request
//! (head and body) at a time over a socket pair, and returns one answer.
//!
//! Guarantees:
//! - A worker has access to its socket only. Its environment is empty, all other descriptors are closed, and it can
//!   open none. seccomp ends it at the first system call that computing does not need, Landlock denies the file system,
//!   `no_new_privs` is set, and it leaves no core dump.
//! - A worker's memory is limited to its base and what it was granted (`RLIMIT_AS`), and its processor time to
//!   [`Limits::work`] for each request (the service watches its clock, and `RLIMIT_CPU` is renewed for each request).
//!   The kernel's out-of-memory killer is not relied on, because it might end the service instead.
//! - A worker dies with the service, however that ends. Signals from a terminal or a supervisor do not reach it.
//! - The next worker is always started ahead, so that one that died is replaced at once.
//! - A worker's messages are not trusted: every length is checked before memory is allocated.
//!
//! [`Worker::lacks`] lists what the kernel does not have of seccomp and Landlock; the other limits apply without them.
#![cfg(target_os = "linux")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod confine;
mod failure;
mod frame;
mod inside;
mod spawner;
mod system;
mod worker;

pub use failure::Failure;
pub use inside::{Job, serve_if_asked};
pub use spawner::{Program, Spawner};
pub use worker::{Limits, Worker};

/// The name that a worker runs under, `argv[0]`: what `ps` shows, and how `main` knows that it was started as one.
pub const NAME: &str = "sightline-decoder";
