//! Objects in S3: bounded gets, idempotent puts, listing; nothing else in the house knows the AWS SDK.
//!
//! [`Objects`] is what a service sees. [`Store`] is S3 itself, AWS's or any server that speaks it (MinIO, Ceph RGW,
//! VersityGW, the embedded one); [`Memory`] is for tests. One contract suite runs against both.
//! [`Metered`] counts and times the calls of either.
//!
//! Promises:
//! - a get never holds more than its byte limit in memory: the declared length is checked before the body is read,
//!   the body is counted while it arrives, and a body that breaks off is fetched anew or reported, never truncated;
//! - a put is one request, so an object is there whole or not at all, and the same put again changes nothing;
//! - [`Error`] says what the caller can do: see [`Error::advice`]. Its text names the object.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod classify;
mod error;
mod listed;
mod location;
mod memory;
mod metered;
mod objects;
mod s3;
mod settings;

pub use error::{Advice, Error};
pub use location::Location;
pub use memory::Memory;
pub use metered::{Metered, Metrics};
pub use objects::{Entry, Get, Head, Object, Objects, Stored};
pub use s3::Store;
pub use secrecy::SecretString;
pub use settings::{Credentials, StorageSettings};
