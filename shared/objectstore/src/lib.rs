//! An S3 server over a folder that tells of each new object: the embedded default of the command line and the tests.
//!
//! It speaks what `aws s3`, `mc`, boto3 and the AWS SDKs need to store, read, list, copy and remove objects, in parts
//! too, with signature version 4; [s3s] reads and writes the protocol. It is one process on one disk: no versions, no
//! policies or lists of access, no encryption, no replication, no TLS, no forms of web pages. Not for production.
//!
//! Promises:
//! - An object is there whole or not at all: content goes to a file of its own, and the renaming of one small record
//!   makes it the key's. Killed at any point, the store starts again with every acknowledged object.
//! - A notification ([`Notifier`]) is awaited before an object is acknowledged. It is written down before the object
//!   can be seen and crossed out when delivered, so that one owed after a crash or a failure is delivered later, byte
//!   for byte the same; `sequencer` in it tells one write of a key from the next.
//! - Any key S3 takes is safe: names on disk are hashes. Memory holds the keys, never the content.
//! - No web page can use it, though it runs on the same machine and knows the keys: requests with an `Origin`, or for a
//!   host that is not this machine, are refused. Beyond loopback it listens only with a secret key of the user's own.
//! - An upload in parts that nobody goes on with for a day is removed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod api;
mod body;
mod catalog;
mod config;
mod error;
mod event;
mod expiry;
mod folder;
mod listing;
mod multipart;
mod outbox;
mod record;
mod server;
mod vault;

pub use config::{Config, Credentials, Notifier, Rule};
pub use error::Error;
pub use secrecy::SecretString;
pub use server::ObjectStore;
