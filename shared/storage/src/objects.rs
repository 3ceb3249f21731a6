//! What a service sees of a store.

use crate::{Error, Location};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Which object to get, and how much of it to bear.
#[derive(Debug, Clone)]
pub struct Get<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    /// A version id; the newest version when absent.
    pub version: Option<&'a str>,
    /// When given, any other object under this key is [`Error::Changed`]. With or without quotes.
    pub etag: Option<&'a str>,
    /// The most bytes of content to hold; a larger object is [`Error::TooLarge`].
    pub max_bytes: u64,
}

impl Get<'_> {
    pub(crate) fn location(&self) -> Location {
        Location::new(self.bucket, self.key)
    }
}

/// An object, whole.
#[derive(Debug, Clone)]
pub struct Object {
    pub bytes: Bytes,
    /// Without quotes.
    pub etag: String,
    pub content_type: Option<String>,
    pub version: Option<String>,
}

/// What a store says of an object without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub content_type: Option<String>,
    pub version: Option<String>,
    pub last_modified_ms: Option<i64>,
}

/// What a put made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Without quotes.
    pub etag: String,
    pub version: Option<String>,
}

/// A line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub last_modified_ms: Option<i64>,
}

/// A store of objects in buckets. Every method may be called again after any failure.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// The whole object, or an error; never a part of it.
    async fn fetch(&self, get: Get<'_>) -> Result<Object, Error>;

    /// [`fetch`](Self::fetch) without an etag to hold the object against.
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

    async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error>;

    /// Stores the object under the key, in place of any other.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<Stored, Error>;

    /// Removes the object; one that isn't there is removed already.
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Error>;

    /// Every object whose key begins with the prefix, in UTF-8 binary order, a page at a time; ends after an error.
    fn list(&self, bucket: &str, prefix: &str) -> BoxStream<'static, Result<Entry, Error>>;

    /// Makes the bucket unless these credentials have it already.
    async fn create_bucket(&self, bucket: &str) -> Result<(), Error>;
}

/// An etag as messages carry it: without the quotes of the HTTP header.
pub(crate) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}
