//! The catalogue of topics: which there are, with how many partitions and which settings, and their logs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::{Malformed, Reader, Writer};
use crate::config::Fsync;
use crate::journal::Journal;
use crate::log::batch::{Header, Outcome};
use crate::log::partition::Appended;
use crate::log::{AppendError, PartitionLog};
use crate::settings::{self, Overrides, Settings};
use crate::sync::{Waiters, lock};

/// One partition, shared by the requests that touch it.
#[derive(Debug)]
pub struct Partition {
    pub log: Mutex<PartitionLog>,
    pub waiters: Waiters,
}

impl Partition {
    /// Appends a validated batch and wakes the fetches that wait.
    pub fn append(&self, bytes: Bytes, header: Header) -> Result<Appended, AppendError> {
        let appended = lock(&self.log).append(bytes, header)?;
        self.waiters.wake();
        Ok(appended)
    }

    /// Ends a producer's transaction here and wakes the fetches that wait for it.
    pub fn end_transaction(
        &self,
        producer_id: i64,
        epoch: i16,
        outcome: Outcome,
    ) -> Result<(), AppendError> {
        lock(&self.log).append_marker(producer_id, epoch, outcome)?;
        self.waiters.wake();
        Ok(())
    }
}

/// A topic; replaced as a whole when it changes.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    pub overrides: Overrides,
    pub settings: Arc<Settings>,
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// Why a change to the catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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

/// See the module.
#[derive(Debug)]
pub struct Topics {
    dir: PathBuf,
    fsync: Fsync,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    journal: Mutex<Journal>,
}

/// Most partitions one topic may have: each holds two files open.
const MAX_PARTITIONS: i32 = 1000;

impl Topics {
    /// Opens the catalogue and every log in it; folders of deleted topics are removed.
    pub fn open(data: &Path, fsync: Fsync) -> io::Result<Self> {
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

    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().get(name).cloned()
    }

    pub fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.read().values().find(|t| t.id == id).cloned()
    }

    pub fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.read().get(name)?.partition(index).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.read().values().cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks whether a topic could be created, and creates it unless `dry`.
    pub fn create(
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
        let mut journal = lock(&self.journal);
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

    pub fn delete(&self, name: &str) -> Result<(), Error> {
        let mut journal = lock(&self.journal);
        let topic = self.get(name).ok_or(Error::Unknown)?;
        let mut out = Writer::default();
        out.u8(DELETED).str(name);
        journal.append(&out.0)?;
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        for (index, partition) in topic.partitions.iter().enumerate() {
            lock(&partition.log).mark_deleted();
            partition.waiters.wake();
            std::fs::remove_dir_all(folder(&self.dir, name, topic.id, index))?;
        }
        Ok(())
    }

    /// Raises the number of partitions.
    pub fn grow(&self, name: &str, count: i32, dry: bool) -> Result<(), Error> {
        let mut journal = lock(&self.journal);
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

    /// Replaces the settings a topic was given.
    pub fn configure(
        &self,
        name: &str,
        change: impl FnOnce(&mut Overrides),
        dry: bool,
    ) -> Result<(), Error> {
        let mut journal = lock(&self.journal);
        let mut topic = Topic::clone(&*self.get(name).ok_or(Error::Unknown)?);
        change(&mut topic.overrides);
        topic.settings = Arc::new(Settings::parse(&topic.overrides)?);
        if dry {
            return Ok(());
        }
        let topic = self.put(&mut journal, topic)?;
        for partition in &topic.partitions {
            lock(&partition.log).configure(topic.settings.clone());
        }
        Ok(())
    }

    fn put(&self, journal: &mut Journal, topic: Topic) -> Result<Arc<Topic>, Error> {
        journal.append(&encode(&topic))?;
        let topic = Arc::new(topic);
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.name.clone(), topic.clone());
        if journal.wants_rewrite() {
            journal.rewrite(self.all().iter().map(|t| encode(t)))?;
        }
        Ok(topic)
    }

    pub fn sync(&self) -> io::Result<()> {
        lock(&self.journal).sync()
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

/// The id is part of the folder's name, so that a topic created anew never meets what its predecessor left.
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
