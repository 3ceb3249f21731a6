//! [`Objects`], the interface of a store, and its arguments and results.

use crate::{Error, Location};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Which object to get, and how large it may be.
#[derive(Debug, Clone)]
pub struct Get<'a> {
    /// The bucket's name.
    pub bucket: &'a str,
    /// The object's key, not encoded.
    pub key: &'a str,
    /// A version id; the newest version when absent.
    pub version: Option<&'a str>,
    /// The etag that the object must have, with or without quotes; [`Error::Changed`] for any other.
    pub etag: Option<&'a str>,
    /// The largest content in bytes; [`Error::TooLarge`] for a larger object.
    pub max_bytes: u64,
}

impl Get<'_> {
    pub(crate) fn location(&self) -> Location {
        Location::new(self.bucket, self.key)
    }
}

/// A complete object.
#[derive(Debug, Clone)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// The etag, without quotes.
    pub etag: String,
    /// The media type, if the server says one.
    pub content_type: Option<String>,
    /// The version id; `None` in a bucket without versions.
    pub version: Option<String>,
}

/// What a store says about an object without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes of content.
    pub size: u64,
    /// The etag, without quotes.
    pub etag: String,
    /// The media type, if the server says one.
    pub content_type: Option<String>,
    /// The version id; `None` in a bucket without versions.
    pub version: Option<String>,
    /// When the object was stored, in milliseconds since the Unix epoch.
    pub last_modified_ms: Option<i64>,
}

/// The result of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The etag, without quotes.
    pub etag: String,
    /// The version id; `None` in a bucket without versions.
    pub version: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, not encoded.
    pub key: String,
    /// Bytes of content.
    pub size: u64,
    /// The etag, without quotes.
    pub etag: String,
    /// When the object was stored, in milliseconds since the Unix epoch.
    pub last_modified_ms: Option<i64>,
}

/// A store of objects in buckets. Every method is safe to call again after an error.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Gets the complete object or fails; the result is never a part of the object.
    async fn fetch(&self, get: Get<'_>) -> Result<Object, Error>;

    /// [`fetch`](Self::fetch) of an object with any etag.
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        max_bytes: u64,
    ) -> Result<Object, Error> {
        self.fetch(Get {
            bucket,
            key,
            version,
            etag: None,
            max_bytes,
        })
        .await
    }

    /// Gets what the store says about an object, without its content.
    async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error>;

    /// Stores the object under the key. It replaces the object under that key, if there is one.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<Stored, Error>;

    /// Removes the object. Succeeds if there is none.
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Error>;

    /// Lists the objects whose keys begin with the prefix, ordered by the UTF-8 bytes of their keys. Fetches one page
    /// at a time; the stream ends after an error.
    fn list(&self, bucket: &str, prefix: &str) -> BoxStream<'static, Result<Entry, Error>>;

    /// Creates the bucket. Succeeds if it exists and these credentials may use it.
    async fn create_bucket(&self, bucket: &str) -> Result<(), Error>;
}

/// The etag without the quotes that it has in an HTTP header.
pub(crate) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}
