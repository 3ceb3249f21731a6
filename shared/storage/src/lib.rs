//! Objects in S3: bounded gets, idempotent puts, listing. The only crate that uses the AWS SDK.
//!
//! [`Objects`] is the interface that services use. [`Store`] implements it on S3: AWS, or any server with the same API
//! (MinIO, Ceph RGW, VersityGW, the embedded one). [`Memory`] implements it in memory, for tests. One contract suite
//! runs against both. [`Metered`] wraps either and counts, times and traces its calls.
//!
//! Guarantees:
//! - A get holds no more than its byte limit in memory. It checks the declared length before it reads the body, and
//!   counts the bytes as they arrive. A body that ends early is fetched again or is an error, never a truncated object.
//! - A put is one request, so the object is stored completely or not at all. Repeating a put leaves the same object.
//! - Every [`Error`] names the object or what is set up wrongly, and [`Error::advice`] says what the caller can do.
#![warn(missing_docs)]
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
