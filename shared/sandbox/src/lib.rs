//! Processes that work on strangers' bytes with nothing to lose: no file, no network, no secret, bounded memory and
//! time.
//!
//! A decoder that is fooled may take all the memory, spin for ever, abort, or run what an attacker wrote. In here it
//! does so in a process of its own, so that the one that holds Kafka's transactions goes on. The [`Spawner`] starts the
//! running program again under the name [`NAME`]; its `main` must begin with [`serve_if_asked`]. A [`Worker`] takes one
//! request at a time, head and body, and gives one answer, over a socket pair.
//!
//! Promises:
//! - what a worker can reach: the socket it was born with. Its environment is empty, all other descriptors are closed,
//!   it can open none; seccomp ends it at the first system call that computing does not need, Landlock closes the file
//!   system, `no_new_privs` is set, it leaves no core dump;
//! - what a worker can take: memory up to its base and what it was granted (`RLIMIT_AS`), and [`Limits::work`] of
//!   processor time for each request (`RLIMIT_CPU`, renewed, and the service watches its clock). Nothing relies on the
//!   kernel's out-of-memory killer, which would take the service, too;
//! - a worker dies with the service, however that ends, and a signal from a terminal or a supervisor does not reach it;
//! - a worker that died is replaced at once: the next one is started ahead;
//! - what a worker says is not believed: every length is checked before memory is taken.
//!
//! What the kernel lacks of seccomp and Landlock is reported ([`Worker::lacks`]), and the rest holds without.
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
