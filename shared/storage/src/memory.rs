//! [`Objects`] in memory, for tests of code that uses a store.

use crate::{Entry, Error, Get, Head, Location, Object, Objects, Stored, objects::bare};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Buckets in memory; clones share them. A call fails only where S3 would refuse it, too.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    buckets: Arc<Mutex<HashMap<String, Bucket>>>,
    versioned: bool,
}

/// The versions under each key, oldest first; without versioning there is one.
type Bucket = BTreeMap<String, Vec<Kept>>;

#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    etag: String,
    content_type: String,
    version: Option<String>,
    written_ms: i64,
}

impl Memory {
    /// A store without buckets, which keeps one version of each object.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store without buckets, in which every put adds a version, as in a bucket with versioning enabled.
    pub fn versioned() -> Self {
        Self {
            versioned: true,
            ..Self::default()
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Bucket>> {
        self.buckets.lock()
    }

    fn find(&self, at: &Location, version: Option<&str>) -> Result<Kept, Error> {
        at.check()?;
        let buckets = self.buckets();
        let versions = buckets
            .get(&at.bucket)
            .and_then(|bucket| bucket.get(&at.key));
        let found = versions.and_then(|versions| match version {
            None => versions.last(),
            Some(id) => versions
                .iter()
                .find(|kept| kept.version.as_deref() == Some(id)),
        });
        found
            .cloned()
            .ok_or_else(|| Error::NotFound { at: at.clone() })
    }
}

#[async_trait]
impl Objects for Memory {
    async fn fetch(&self, get: Get<'_>) -> Result<Object, Error> {
        let at = get.location();
        let kept = self.find(&at, get.version)?;
        if let Some(expected) = get.etag.map(bare)
            && expected != kept.etag
        {
            let expected = expected.to_owned();
            return Err(Error::Changed { at, expected });
        }
        let size = kept.bytes.len() as u64;
        if size > get.max_bytes {
            let limit = get.max_bytes;
            return Err(Error::TooLarge { at, size, limit });
        }
        Ok(Object {
            bytes: kept.bytes,
            etag: kept.etag,
            content_type: Some(kept.content_type),
            version: kept.version,
        })
    }

    async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error> {
        let kept = self.find(&Location::new(bucket, key), version)?;
        Ok(Head {
            size: kept.bytes.len() as u64,
            etag: kept.etag,
            content_type: Some(kept.content_type),
            version: kept.version,
            last_modified_ms: Some(kept.written_ms),
        })
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<Stored, Error> {
        let at = Location::new(bucket, key);
        at.check()?;
        let mut buckets = self.buckets();
        let Some(found) = buckets.get_mut(bucket) else {
            return Err(Error::NotFound { at });
        };
        let versions = found.entry(key.to_owned()).or_default();
        if !self.versioned {
            versions.clear();
        }
        let version = self.versioned.then(|| format!("v{}", versions.len() + 1));
        let etag = etag(&bytes);
        versions.push(Kept {
            bytes,
            etag: etag.clone(),
            content_type: content_type.to_owned(),
            version: version.clone(),
            written_ms: now_ms(),
        });
        Ok(Stored { etag, version })
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let at = Location::new(bucket, key);
        at.check()?;
        match self.buckets().get_mut(bucket) {
            Some(found) => {
                found.remove(key);
                Ok(())
            }
            None => Err(Error::NotFound { at }),
        }
    }

    fn list(&self, bucket: &str, prefix: &str) -> BoxStream<'static, Result<Entry, Error>> {
        let at = Location::new(bucket, prefix);
        let listed = at.check_bucket().and_then(|()| {
            let buckets = self.buckets();
            let found = buckets.get(bucket).ok_or(Error::NotFound { at })?;
            let under = found.range(prefix.to_owned()..);
            let under = under.take_while(|(key, _)| key.starts_with(prefix));
            Ok(under
                .filter_map(|(key, versions)| entry(key, versions.last()?))
                .collect::<Vec<_>>())
        });
        match listed {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok)).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        Location::new(bucket, "").check_bucket()?;
        self.buckets().entry(bucket.to_owned()).or_default();
        Ok(())
    }
}

fn entry(key: &str, kept: &Kept) -> Option<Entry> {
    Some(Entry {
        key: key.to_owned(),
        size: kept.bytes.len() as u64,
        etag: kept.etag.clone(),
        last_modified_ms: Some(kept.written_ms),
    })
}

/// Equal for equal bytes, which is all that callers may rely on.
fn etag(bytes: &Bytes) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}-{:x}", hasher.finish(), bytes.len())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
