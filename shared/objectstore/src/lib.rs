//! An S3 server over a folder that notifies of each new object: the embedded default of the command line and the tests.
//!
//! It supports what `aws s3`, `mc`, boto3 and the AWS SDKs need to store, read, list, copy and remove objects,
//! multipart uploads included, with signature version 4. [s3s] implements the protocol. It is one process on one disk.
//! It has no versions, policies, access lists, encryption, replication, TLS or browser uploads by form. Not for
//! production.
//!
//! Guarantees:
//! - An object is stored completely or not at all: its content goes to a file of its own, and renaming one small record
//!   makes it visible under the key. Killed at any point, the store restarts with every acknowledged object.
//! - A notification ([`Notifier`]) is delivered before an object is acknowledged. It is written to disk before the
//!   object is visible, and removed from there when it is delivered. One that is still owed after a crash or a failure
//!   is delivered later, byte for byte the same. Its `sequencer` distinguishes the writes of a key.
//! - Any key that S3 allows is safe, because names on disk are hashes. Memory holds the keys, never the content.
//! - No web page can use the store, even if it runs on the same machine and knows the keys: requests with an `Origin`,
//!   or for a host that is not this machine, are refused. On other addresses than loopback the store listens only with
//!   a secret key that the user has set.
//! - A multipart upload without a new part for a day is removed.
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
