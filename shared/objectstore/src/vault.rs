//! Changes of objects, in the order of steps that the guarantees of this crate need.

use crate::{
    Config,
    catalog::Catalog,
    event::{Made, Requester, created},
    folder::{Draft, Folder, hash, read},
    outbox::{Outbox, Owed},
    record::{Properties, Record, millis},
};
use s3s::{S3Error, S3Result, dto::ETagCondition, s3_error};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    fs::{self, File},
    sync::{Mutex, MutexGuard},
};
use tokio_util::task::TaskTracker;

const LOCKS: usize = 256;
/// The pauses between attempts to deliver: the first, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

pub(crate) struct Vault {
    pub config: Config,
    pub folder: Arc<Folder>,
    pub catalog: Catalog,
    outbox: Outbox,
    sequencer: AtomicU64,
    locks: Vec<Mutex<()>>,
    /// Writes run here, so that they are completed even if their client disconnects.
    pub writes: TaskTracker,
}

/// New content for a key.
pub(crate) struct Write {
    pub bucket: String,
    pub key: String,
    pub content: Draft,
    pub size: u64,
    pub etag: String,
    pub properties: Properties,
    pub made: Made,
    pub by: Requester,
    pub conditions: Conditions,
}

/// Conditions on the object that is under the key already.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

/// An error of the disk. The client gets an internal error, after which it may try again.
pub(crate) fn disk(error: io::Error) -> S3Error {
    tracing::error!(%error, "the store's folder fails");
    S3Error::internal_error(error)
}

impl Vault {
    pub fn open(config: Config) -> io::Result<Arc<Self>> {
        let folder = Arc::new(Folder::open(&config.root, config.fsync)?);
        let (catalog, written) = Catalog::load(&folder)?;
        let (outbox, owed) = Outbox::load(Arc::clone(&folder), config.notifier.clone())?;
        Ok(Arc::new(Self {
            config,
            folder,
            catalog,
            outbox,
            sequencer: AtomicU64::new(written.max(owed)),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            writes: TaskTracker::new(),
        }))
    }

    /// The lock of a key. It is held during a change and its notification, so that events of one key stay in order.
    async fn lock(&self, key: &str) -> MutexGuard<'_, ()> {
        let stripe = u8::from_str_radix(&hash(key)[..2], 16).unwrap_or(0);
        self.locks[usize::from(stripe)].lock().await
    }

    /// Nanoseconds since the Unix epoch, but always more than the last one.
    fn next_sequencer(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        let next = |last: u64| Some(now.max(last + 1));
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        let last = self
            .sequencer
            .fetch_update(set, get, next)
            .unwrap_or_default();
        now.max(last + 1)
    }

    pub fn bucket(&self, bucket: &str) -> S3Result<()> {
        if self.catalog.has(bucket) {
            Ok(())
        } else {
            Err(s3_error!(NoSuchBucket, "no bucket {bucket:?}"))
        }
    }

    pub async fn record(&self, bucket: &str, key: &str) -> S3Result<Record> {
        self.bucket(bucket)?;
        self.find(bucket, key)
            .await?
            .ok_or_else(|| s3_error!(NoSuchKey, "no object {key:?} in bucket {bucket:?}"))
    }

    pub async fn find(&self, bucket: &str, key: &str) -> S3Result<Option<Record>> {
        read(&self.folder.record(bucket, key)).await.map_err(disk)
    }

    /// The record and the content of the same write.
    pub async fn open_object(&self, bucket: &str, key: &str) -> S3Result<(Record, File)> {
        loop {
            let record = self.record(bucket, key).await?;
            match File::open(self.folder.content(bucket, &record)).await {
                Ok(file) => return Ok((record, file)),
                // It was overwritten meanwhile if there is another record now. Otherwise the content is missing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if self.record(bucket, key).await? == record {
                        return Err(disk(error));
                    }
                }
                Err(error) => return Err(disk(error)),
            }
        }
    }

    /// Stores the content under the key. Returns when it is on disk and its notification is delivered.
    pub async fn place(self: &Arc<Self>, write: Write) -> S3Result<Record> {
        let vault = Arc::clone(self);
        let done = self
            .writes
            .spawn(async move { vault.place_now(write).await });
        done.await.map_err(S3Error::internal_error)?
    }

    async fn place_now(&self, write: Write) -> S3Result<Record> {
        let _turn = self.lock(&write.key).await;
        self.bucket(&write.bucket)?;
        let old = self.find(&write.bucket, &write.key).await?;
        write.conditions.check(old.as_ref())?;
        // The same write again before its notification is delivered is a client's retry, and no new write.
        if let Some(old) = &old
            && self.outbox.owes(old.sequencer)
            && write.same_as(old)
        {
            self.deliver(old).await?;
            return Ok(old.clone());
        }
        let record = self.commit(write, old).await.map_err(disk)?;
        self.deliver(&record).await?;
        Ok(record)
    }

    async fn commit(&self, write: Write, old: Option<Record>) -> io::Result<Record> {
        let bucket = write.bucket;
        let record = Record {
            key: write.key,
            size: write.size,
            etag: write.etag,
            sequencer: self.next_sequencer(),
            written_ms: millis(SystemTime::now()),
            properties: write.properties,
        };
        let content = self.folder.content(&bucket, &record);
        self.folder.prepare(&bucket, &record.key).await?;
        self.folder.keep(write.content, &content).await?;
        if self.config.concerns(&bucket, &record.key) {
            let event = created(write.made, &bucket, &record, &write.by);
            let owed = Owed {
                bucket: bucket.clone(),
                key: record.key.clone(),
                sequencer: record.sequencer,
                event: String::from_utf8_lossy(&event).into_owned(),
            };
            self.outbox.write(owed).await?;
        }
        let place = self.folder.record(&bucket, &record.key);
        self.folder.write(&place, &record).await?;
        self.catalog.insert(&bucket, &record.key);
        if let Some(old) = old {
            self.outbox.forget(old.sequencer).await?;
            self.folder
                .remove(&self.folder.content(&bucket, &old))
                .await?;
        }
        Ok(record)
    }

    async fn deliver(&self, record: &Record) -> S3Result<()> {
        self.outbox
            .deliver(record.sequencer)
            .await
            .map_err(|error| {
                tracing::warn!(
                    key = record.key,
                    error = &*error,
                    "notification failed; it is owed"
                );
                s3_error!(
                    SlowDown,
                    "the object is stored but its notification failed; try again"
                )
            })
    }

    /// Delivers owed notifications, from earlier processes and from failed deliveries, until dropped.
    pub async fn settle(&self) {
        loop {
            let mut pause = PAUSES.0;
            while !self.settle_once().await {
                tokio::time::sleep(pause).await;
                pause = PAUSES.1.min(pause * 2);
            }
            self.outbox.failed.notified().await;
            // Usually the client's own retry comes first.
            tokio::time::sleep(PAUSES.0).await;
        }
    }

    /// Delivers once, up to the first failure, since the next would fail, too. Returns whether none are owed any more.
    async fn settle_once(&self) -> bool {
        for (sequencer, bucket, key) in self.outbox.all() {
            let _turn = self.lock(&key).await;
            let record = match self.find(&bucket, &key).await {
                Ok(record) => record,
                Err(_) => return false,
            };
            let done = match record {
                Some(record) if record.sequencer == sequencer => {
                    self.outbox.deliver(sequencer).await
                }
                // The write never became visible, or the object was overwritten or deleted.
                _ => self.outbox.forget(sequencer).await.map_err(Into::into),
            };
            if let Err(error) = done {
                tracing::warn!(
                    key,
                    error = &*error,
                    "notification failed again; it is owed"
                );
                return false;
            }
        }
        true
    }

    pub async fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.bucket(bucket)?;
        let _turn = self.lock(key).await;
        let Some(old) = self.find(bucket, key).await? else {
            return Ok(());
        };
        let folder = &self.folder;
        folder
            .remove(&folder.record(bucket, key))
            .await
            .map_err(disk)?;
        self.catalog.remove(bucket, key);
        folder
            .remove(&folder.content(bucket, &old))
            .await
            .map_err(disk)?;
        self.outbox.forget(old.sequencer).await.map_err(disk)
    }

    pub async fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        if self.catalog.has(bucket) {
            return Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "bucket {bucket:?} is yours already"
            ));
        }
        fs::create_dir_all(self.folder.bucket(bucket))
            .await
            .map_err(disk)?;
        self.folder
            .settle(&self.folder.buckets())
            .await
            .map_err(disk)?;
        self.catalog.add_bucket(bucket);
        Ok(())
    }

    pub async fn delete_bucket(&self, bucket: &str) -> S3Result<()> {
        self.bucket(bucket)?;
        if !self.catalog.drop_empty(bucket) {
            return Err(s3_error!(BucketNotEmpty, "bucket {bucket:?} has objects"));
        }
        fs::remove_dir_all(self.folder.bucket(bucket))
            .await
            .map_err(disk)
    }
}

impl Write {
    fn same_as(&self, old: &Record) -> bool {
        old.etag == self.etag && old.size == self.size && old.properties == self.properties
    }
}

impl Conditions {
    fn check(&self, old: Option<&Record>) -> S3Result<()> {
        let fits = |condition: &ETagCondition| {
            old.is_some_and(|old| {
                condition.is_any()
                    || condition
                        .as_etag()
                        .is_some_and(|etag| etag.value() == old.etag)
            })
        };
        if self
            .if_match
            .as_ref()
            .is_some_and(|condition| !fits(condition))
        {
            return Err(s3_error!(PreconditionFailed, "the object is another"));
        }
        if self.if_none_match.as_ref().is_some_and(fits) {
            return Err(s3_error!(PreconditionFailed, "the object is there"));
        }
        Ok(())
    }
}
