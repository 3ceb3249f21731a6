//! The catalogue of topics: names, partitions, settings and logs. Changes are written to a journal.

use crate::{
    codec::{Malformed, Reader, Writer},
    config::Fsync,
    journal::Journal,
    log::{
        AppendError, PartitionLog,
        batch::{Header, Outcome},
        partition::Appended,
    },
    settings::{self, Overrides, Settings},
    waiters::Waiters,
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

/// One partition, shared by the requests that use it.
#[derive(Debug)]
pub(crate) struct Partition {
    pub log: Mutex<PartitionLog>,
    pub waiters: Waiters,
}

impl Partition {
    /// Appends a validated batch and wakes the fetches that wait.
    pub(crate) fn append(&self, bytes: Bytes, header: Header) -> Result<Appended, AppendError> {
        let appended = self.log.lock().append(bytes, header)?;
        self.waiters.wake();
        Ok(appended)
    }

    /// Ends a producer's transaction here and wakes the fetches that wait for it.
    pub(crate) fn end_transaction(
        &self,
        producer_id: i64,
        epoch: i16,
        outcome: Outcome,
    ) -> Result<(), AppendError> {
        self.log.lock().append_marker(producer_id, epoch, outcome)?;
        self.waiters.wake();
        Ok(())
    }
}

/// A topic. A change replaces the whole value.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub name: String,
    pub id: Uuid,
    pub overrides: Overrides,
    pub settings: Arc<Settings>,
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// Why a change to the catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("topic exists")]
    Exists,
    #[error("no such topic")]
    Unknown,
    #[error("{0}")]
    Name(&'static str),
    #[error("partition count {0}")]
    Partitions(i32),
    #[error(transparent)]
    Settings(#[from] settings::Invalid),
    #[error("storage")]
    Storage(#[from] io::Error),
}

/// All topics of the broker.
#[derive(Debug)]
pub(crate) struct Topics {
    dir: PathBuf,
    fsync: Fsync,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    journal: Mutex<Journal>,
}

/// Most partitions one topic may have: each holds two files open.
const MAX_PARTITIONS: i32 = 1000;

impl Topics {
    /// Opens the catalogue and every log in it; folders of deleted topics are removed.
    pub(crate) fn open(data: &Path, fsync: Fsync) -> io::Result<Self> {
        let dir = data.join("logs");
        std::fs::create_dir_all(&dir)?;
        let mut entries = BTreeMap::new();
        let journal = Journal::open(&data.join("topics.log"), fsync, |payload| {
            replay(payload, &mut entries).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        })?;
        let mut by_name = BTreeMap::new();
        for (name, entry) in entries {
            let settings = Settings::parse(&entry.overrides)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            let settings = Arc::new(settings);
            let partitions =
                open_partitions(&dir, &name, entry.id, 0..entry.partitions, &settings, fsync)?;
            let topic = Topic {
                name: name.clone(),
                id: entry.id,
                overrides: entry.overrides,
                settings,
                partitions,
            };
            by_name.insert(name, Arc::new(topic));
        }
        remove_strays(&dir, &by_name)?;
        Ok(Self {
            dir,
            fsync,
            by_name: RwLock::new(by_name),
            journal: Mutex::new(journal),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.read().values().find(|t| t.id == id).cloned()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.read().get(name)?.partition(index).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().values().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.by_name.read()
    }

    /// Creates a topic; only checks whether it could if `dry`.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        overrides: Overrides,
        dry: bool,
    ) -> Result<Arc<Topic>, Error> {
        check_name(name)?;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(Error::Partitions(partitions));
        }
        let settings = Arc::new(Settings::parse(&overrides)?);
        let mut journal = self.journal.lock();
        if self.get(name).is_some() {
            return Err(Error::Exists);
        }
        let id = Uuid::new_v4();
        let mut topic = Topic {
            name: name.to_owned(),
            id,
            overrides,
            settings,
            partitions: Vec::new(),
        };
        if dry {
            return Ok(Arc::new(topic));
        }
        topic.partitions = open_partitions(
            &self.dir,
            name,
            id,
            0..partitions,
            &topic.settings,
            self.fsync,
        )?;
        self.put(&mut journal, topic)
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
        let mut journal = self.journal.lock();
        let topic = self.get(name).ok_or(Error::Unknown)?;
        let mut out = Writer::default();
        out.u8(DELETED).str(name);
        journal.append(&out.0)?;
        self.by_name.write().remove(name);
        for (index, partition) in topic.partitions.iter().enumerate() {
            partition.log.lock().mark_deleted();
            partition.waiters.wake();
            std::fs::remove_dir_all(folder(&self.dir, name, topic.id, index))?;
        }
        Ok(())
    }

    /// Raises the number of partitions.
    pub(crate) fn grow(&self, name: &str, count: i32, dry: bool) -> Result<(), Error> {
        let mut journal = self.journal.lock();
        let topic = self.get(name).ok_or(Error::Unknown)?;
        let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if count <= now || count > MAX_PARTITIONS {
            return Err(Error::Partitions(count));
        }
        if dry {
            return Ok(());
        }
        let mut topic = Topic::clone(&topic);
        topic.partitions.extend(open_partitions(
            &self.dir,
            name,
            topic.id,
            now..count,
            &topic.settings,
            self.fsync,
        )?);
        self.put(&mut journal, topic).map(drop)
    }

    /// Changes the settings that a topic was given.
    pub(crate) fn configure(
        &self,
        name: &str,
        change: impl FnOnce(&mut Overrides),
        dry: bool,
    ) -> Result<(), Error> {
        let mut journal = self.journal.lock();
        let mut topic = Topic::clone(&*self.get(name).ok_or(Error::Unknown)?);
        change(&mut topic.overrides);
        topic.settings = Arc::new(Settings::parse(&topic.overrides)?);
        if dry {
            return Ok(());
        }
        let topic = self.put(&mut journal, topic)?;
        for partition in &topic.partitions {
            partition.log.lock().configure(topic.settings.clone());
        }
        Ok(())
    }

    fn put(&self, journal: &mut Journal, topic: Topic) -> Result<Arc<Topic>, Error> {
        journal.append(&encode(&topic))?;
        let topic = Arc::new(topic);
        self.by_name
            .write()
            .insert(topic.name.clone(), topic.clone());
        if journal.wants_rewrite() {
            journal.rewrite(self.all().iter().map(|t| encode(t)))?;
        }
        Ok(topic)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.journal.lock().sync()
    }
}

const PUT: u8 = 1;
const DELETED: u8 = 2;

struct Entry {
    id: Uuid,
    partitions: i32,
    overrides: Overrides,
}

fn encode(topic: &Topic) -> Vec<u8> {
    let mut out = Writer::default();
    out.u8(PUT)
        .str(&topic.name)
        .bytes(topic.id.as_bytes())
        .count(topic.partitions.len())
        .count(topic.overrides.len());
    for (name, value) in &topic.overrides {
        out.str(name).str(value);
    }
    out.0
}

fn replay(payload: &[u8], entries: &mut BTreeMap<String, Entry>) -> Result<(), Malformed> {
    let mut input = Reader(payload);
    let kind = input.u8()?;
    let name = input.str()?;
    if kind == DELETED {
        entries.remove(&name);
        return Ok(());
    }
    let id = Uuid::from_slice(input.bytes()?).map_err(|_| Malformed)?;
    let partitions = i32::try_from(input.u32()?).map_err(|_| Malformed)?;
    let mut overrides = Overrides::new();
    for _ in 0..input.count()? {
        overrides.insert(input.str()?, input.str()?);
    }
    entries.insert(
        name,
        Entry {
            id,
            partitions,
            overrides,
        },
    );
    Ok(())
}

/// The id is part of the folder's name, so that a topic that is created again never sees the files of its predecessor.
fn folder(dir: &Path, name: &str, id: Uuid, index: usize) -> PathBuf {
    dir.join(format!("{name}.{}-{index}", id.simple()))
}

fn open_partitions(
    dir: &Path,
    name: &str,
    id: Uuid,
    indexes: std::ops::Range<i32>,
    settings: &Arc<Settings>,
    fsync: Fsync,
) -> io::Result<Vec<Arc<Partition>>> {
    let open = |index: i32| {
        let folder = folder(dir, name, id, usize::try_from(index).unwrap_or_default());
        let log = Mutex::new(PartitionLog::open(&folder, settings.clone(), fsync)?);
        Ok(Arc::new(Partition {
            log,
            waiters: Waiters::default(),
        }))
    };
    indexes.map(open).collect()
}

fn remove_strays(dir: &Path, topics: &BTreeMap<String, Arc<Topic>>) -> io::Result<()> {
    let known: std::collections::HashSet<_> = topics
        .values()
        .flat_map(|t| (0..t.partitions.len()).map(|i| folder(dir, &t.name, t.id, i)))
        .collect();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !known.contains(&path) {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Kafka's rule for topic names.
fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::Name("a topic name can't be empty, \".\" or \"..\""));
    }
    if name.len() > 200 {
        return Err(Error::Name("a topic name has at most 200 characters"));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(legal) {
        return Err(Error::Name(
            "a topic name consists of ASCII letters, digits, \".\", \"_\" and \"-\"",
        ));
    }
    Ok(())
}
