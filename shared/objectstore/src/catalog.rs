//! The keys of every bucket, ordered, in memory; read from the records at start.

use crate::{
    folder::{Folder, read_now},
    listing::{self, Page, Query},
    record::{Record, millis},
};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::Path,
    time::SystemTime,
};

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    buckets: RwLock<BTreeMap<String, Bucket>>,
}

#[derive(Debug, Default)]
struct Bucket {
    created_ms: i64,
    keys: BTreeSet<String>,
}

impl Catalog {
    /// Reads all records, and removes content that belongs to none. Also returns the highest sequencer.
    pub fn load(folder: &Folder) -> io::Result<(Self, u64)> {
        let (mut buckets, mut highest) = (BTreeMap::new(), 0);
        for entry in std::fs::read_dir(folder.buckets())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let about = entry.metadata()?;
            let created = about.created().or_else(|_| about.modified())?;
            let mut bucket = Bucket {
                created_ms: millis(created),
                keys: BTreeSet::new(),
            };
            for shard in std::fs::read_dir(entry.path())? {
                highest = highest.max(load_shard(folder, &name, &shard?.path(), &mut bucket.keys)?);
            }
            buckets.insert(name, bucket);
        }
        let buckets = RwLock::new(buckets);
        Ok((Self { buckets }, highest))
    }

    pub fn has(&self, bucket: &str) -> bool {
        self.with(|buckets| buckets.contains_key(bucket))
    }

    /// Name and time of creation of each bucket, in milliseconds since the Unix epoch.
    pub fn buckets(&self) -> Vec<(String, i64)> {
        self.with(|buckets| {
            let each = buckets.iter();
            each.map(|(name, bucket)| (name.clone(), bucket.created_ms))
                .collect()
        })
    }

    pub fn add_bucket(&self, bucket: &str) {
        let bucket_now = Bucket {
            created_ms: millis(SystemTime::now()),
            keys: BTreeSet::new(),
        };
        self.change(|buckets| {
            buckets
                .entry(bucket.to_owned())
                .or_insert(bucket_now)
                .created_ms
        });
    }

    /// Removes a bucket if it has no keys; returns whether it did.
    pub fn drop_empty(&self, bucket: &str) -> bool {
        self.change(|buckets| match buckets.get(bucket) {
            Some(found) if found.keys.is_empty() => buckets.remove(bucket).is_some(),
            _ => false,
        })
    }

    pub fn insert(&self, bucket: &str, key: &str) {
        self.change(|buckets| {
            buckets
                .get_mut(bucket)
                .is_some_and(|found| found.keys.insert(key.to_owned()))
        });
    }

    pub fn remove(&self, bucket: &str, key: &str) {
        self.change(|buckets| {
            buckets
                .get_mut(bucket)
                .is_some_and(|found| found.keys.remove(key))
        });
    }

    /// A page of the bucket's listing; `None` if there is no such bucket.
    pub fn page(&self, bucket: &str, query: &Query<'_>) -> Option<Page> {
        self.with(|buckets| Some(listing::page(&buckets.get(bucket)?.keys, query)))
    }

    fn with<R>(&self, look: impl FnOnce(&BTreeMap<String, Bucket>) -> R) -> R {
        look(&self.buckets.read())
    }

    fn change<R>(&self, act: impl FnOnce(&mut BTreeMap<String, Bucket>) -> R) -> R {
        act(&mut self.buckets.write())
    }
}

fn load_shard(
    folder: &Folder,
    bucket: &str,
    shard: &Path,
    keys: &mut BTreeSet<String>,
) -> io::Result<u64> {
    let (mut highest, mut contents, mut live) = (0, Vec::new(), BTreeSet::new());
    for file in std::fs::read_dir(shard)? {
        let path = file?.path();
        match path.extension().and_then(OsStr::to_str) {
            Some("json") => {
                let record: Record = read_now(&path)?;
                highest = highest.max(record.sequencer);
                live.insert(folder.content(bucket, &record));
                keys.insert(record.key);
            }
            _ => contents.push(path),
        }
    }
    for path in contents {
        if !live.contains(&path) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(highest)
}
