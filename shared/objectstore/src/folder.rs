//! The layout of the store's folder, and the writing of complete files.
//!
//! ```text
//! lock                                   held while a store uses the folder
//! buckets/<bucket>/<2 hex>/<hash>.json   a record, and
//! buckets/<bucket>/<2 hex>/<hash>-<sequencer>.data  its content; <hash> is SHA-256 of the key
//! outbox/<sequencer>.json                a notification that is not delivered yet
//! uploads/<id>/                          a multipart upload
//! tmp/                                   unfinished files; emptied at start
//! ```

use crate::record::{Record, hex};
use s3s::crypto::{Checksum, Sha256};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};

#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    fsync: bool,
    unfinished: AtomicU64,
    _lock: std::fs::File,
}

/// A file in `tmp/`, removed when dropped unless it was moved to its place.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Files that were moved are no longer here. If this fails, the next start removes the file.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Folder {
    /// Creates the folder if it is absent, locks it for this store, and removes unfinished files of a crash.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another store uses it.
    pub fn open(root: &Path, fsync: bool) -> io::Result<Self> {
        for part in ["buckets", "outbox", "uploads", "tmp"] {
            std::fs::create_dir_all(root.join(part))?;
        }
        let lock = std::fs::File::create(root.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        for left in std::fs::read_dir(root.join("tmp"))? {
            std::fs::remove_file(left?.path())?;
        }
        Ok(Self {
            root: root.to_owned(),
            fsync,
            unfinished: AtomicU64::new(0),
            _lock: lock,
        })
    }

    pub fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub fn bucket(&self, bucket: &str) -> PathBuf {
        self.buckets().join(bucket)
    }

    pub fn record(&self, bucket: &str, key: &str) -> PathBuf {
        let hash = hash(key);
        self.shard(bucket, &hash).join(format!("{hash}.json"))
    }

    pub fn content(&self, bucket: &str, record: &Record) -> PathBuf {
        let hash = hash(&record.key);
        self.shard(bucket, &hash)
            .join(format!("{hash}-{:016x}.data", record.sequencer))
    }

    fn shard(&self, bucket: &str, hash: &str) -> PathBuf {
        self.bucket(bucket).join(&hash[..2])
    }

    /// An empty file to write to.
    pub async fn draft(&self) -> io::Result<(Draft, File)> {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("tmp").join(number.to_string());
        let file = File::create_new(&path).await?;
        Ok((Draft { path }, file))
    }

    /// Ends the writing of a draft.
    pub async fn finish(&self, mut file: File) -> io::Result<()> {
        file.flush().await?;
        if self.fsync {
            file.sync_all().await?;
        }
        Ok(())
    }

    /// Moves a finished draft to its place, atomically.
    pub async fn keep(&self, draft: Draft, path: &Path) -> io::Result<()> {
        fs::rename(&draft.path, path).await?;
        self.settle(path.parent().unwrap_or(&self.root)).await
    }

    /// Creates the folder for a key in an existing bucket.
    pub async fn prepare(&self, bucket: &str, key: &str) -> io::Result<()> {
        match fs::create_dir(self.shard(bucket, &hash(key))).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.settle(&self.bucket(bucket)).await,
        }
    }

    /// Writes the folder's entries to disk, if `fsync` is set.
    pub async fn settle(&self, folder: &Path) -> io::Result<()> {
        if self.fsync {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(())
    }

    /// Writes a JSON file, atomically.
    pub async fn write(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_vec(value)?;
        let (draft, mut file) = self.draft().await?;
        file.write_all(&json).await?;
        self.finish(file).await?;
        self.keep(draft, path).await
    }

    /// Removes a file, if it is there.
    pub async fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.settle(path.parent().unwrap_or(&self.root)).await,
        }
    }
}

/// Reads a JSON file; `None` if there is no such file.
pub(crate) async fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path).await {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a JSON file, blocking: for the start.
pub(crate) fn read_now<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let json = std::fs::read(path)?;
    serde_json::from_slice(&json).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {error}", path.display()),
        )
    })
}

/// The name of a key on disk: SHA-256, in hexadecimal.
pub(crate) fn hash(key: &str) -> String {
    hex(&Sha256::checksum(key.as_bytes()))
}
