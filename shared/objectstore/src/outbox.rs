//! Notifications that are not delivered yet: written before their object is visible, removed when delivered.

use crate::{
    Notifier,
    folder::{Folder, read, read_now},
};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};

/// How long the notifier may take before the object's client is told to try again.
const PATIENCE: Duration = Duration::from_secs(15);

/// An undelivered event, and the write that it notifies of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub bucket: String,
    pub key: String,
    pub sequencer: u64,
    pub event: String,
}

pub(crate) struct Outbox {
    folder: Arc<Folder>,
    notifier: Option<Arc<dyn Notifier>>,
    /// The bucket and key of each, by sequencer; the events are on disk only.
    owed: Mutex<BTreeMap<u64, (String, String)>>,
    /// Notified when a delivery failed.
    pub failed: Notify,
}

impl Outbox {
    /// Reads the events that an earlier process did not deliver. Also returns the highest sequencer.
    pub fn load(
        folder: Arc<Folder>,
        notifier: Option<Arc<dyn Notifier>>,
    ) -> io::Result<(Self, u64)> {
        let mut owed = BTreeMap::new();
        for file in std::fs::read_dir(folder.outbox())? {
            let one: Owed = read_now(&file?.path())?;
            owed.insert(one.sequencer, (one.bucket, one.key));
        }
        let highest = owed.keys().next_back().copied().unwrap_or(0);
        let outbox = Self {
            folder,
            notifier,
            owed: Mutex::new(owed),
            failed: Notify::new(),
        };
        Ok((outbox, highest))
    }

    pub async fn write(&self, owed: Owed) -> io::Result<()> {
        self.folder.write(&self.path(owed.sequencer), &owed).await?;
        self.lock().insert(owed.sequencer, (owed.bucket, owed.key));
        Ok(())
    }

    pub fn owes(&self, sequencer: u64) -> bool {
        self.lock().contains_key(&sequencer)
    }

    /// Sequencer, bucket and key of each undelivered event, oldest first.
    pub fn all(&self) -> Vec<(u64, String, String)> {
        let owed = self.lock();
        let each = owed.iter();
        each.map(|(sequencer, (bucket, key))| (*sequencer, bucket.clone(), key.clone()))
            .collect()
    }

    /// Delivers the event of this write, if it is not delivered yet, and removes it.
    pub async fn deliver(
        &self,
        sequencer: u64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if !self.owes(sequencer) {
            return Ok(());
        }
        let told = self.tell(sequencer).await;
        match &told {
            Ok(()) => self.forget(sequencer).await?,
            Err(_) => self.failed.notify_one(),
        }
        told
    }

    async fn tell(&self, sequencer: u64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let notifier = self.notifier.as_ref().ok_or("nobody to notify")?;
        let owed: Option<Owed> = read(&self.path(sequencer)).await?;
        let owed = owed.ok_or("its event is gone from the outbox")?;
        let key = format!("{}/{}", owed.bucket, owed.key);
        timeout(PATIENCE, notifier.notify(&key, Bytes::from(owed.event))).await?
    }

    /// Removes an event: it is delivered, or its object no longer exists.
    pub async fn forget(&self, sequencer: u64) -> io::Result<()> {
        if self.owes(sequencer) {
            self.folder.remove(&self.path(sequencer)).await?;
            self.lock().remove(&sequencer);
        }
        Ok(())
    }

    fn path(&self, sequencer: u64) -> PathBuf {
        self.folder.outbox().join(format!("{sequencer:016x}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (String, String)>> {
        self.owed.lock()
    }
}
