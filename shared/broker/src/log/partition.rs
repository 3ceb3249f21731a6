//! One partition: its segments and producers. One caller writes at a time.

use super::{
    batch::{self, Header, Outcome},
    producers::{Producers, Refused, Verdict},
    segment::{Files, Segment},
};
use crate::{
    clock,
    config::Fsync,
    settings::{Settings, Timestamps},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub base_offset: i64,
    /// The broker's time if the topic has `LogAppendTime`, else -1.
    pub append_time_ms: i64,
}

/// Why a batch is not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("batch of {size} bytes, the topic allows {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("producer epoch is fenced")]
    Epoch,
    #[error("sequence number out of order")]
    Sequence,
    #[error("not part of the producer's open transaction")]
    Transaction,
    #[error("timestamp lies more than an hour ahead")]
    Timestamp,
    #[error("{0}")]
    Record(&'static str),
    #[error("the partition was deleted")]
    Deleted,
    #[error("log file")]
    Storage(#[from] io::Error),
}

impl From<Refused> for AppendError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Epoch => Self::Epoch,
            Refused::Sequence => Self::Sequence,
            Refused::NotTransactional => Self::Transaction,
        }
    }
}

/// The log of one partition.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    pub(super) dir: PathBuf,
    pub(super) settings: Arc<Settings>,
    pub(super) fsync: Fsync,
    /// Finished segments, oldest first.
    pub(super) sealed: Vec<Segment>,
    pub(super) active: Segment,
    pub(super) files: Files,
    pub(super) producers: Producers,
    pub(super) log_start: i64,
    /// Everything before this offset is compacted.
    pub(super) compacted_to: i64,
    pub(super) deleted: bool,
    /// Written to since the last sync.
    dirty: bool,
}

impl PartitionLog {
    /// Opens or creates the partition in `dir`; a torn tail is truncated.
    pub(crate) fn open(dir: &Path, settings: Arc<Settings>, fsync: Fsync) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (sealed, active, files, producers) = super::recovery::recover(dir)?;
        let first = sealed.first().map_or(active.base, |s| s.base);
        let log_start = super::retention::read_log_start(dir)
            .unwrap_or(first)
            .clamp(first, active.next_offset);
        let compacted_to = first;
        Ok(Self {
            dir: dir.to_owned(),
            settings,
            fsync,
            sealed,
            active,
            files,
            producers,
            log_start,
            compacted_to,
            deleted: false,
            dirty: false,
        })
    }

    /// Appends a producer's batch, already validated into `header`.
    pub(crate) fn append(
        &mut self,
        mut bytes: bytes::Bytes,
        mut header: Header,
    ) -> Result<Appended, AppendError> {
        let now = clock::now_ms();
        self.admit(&bytes, &header, now)?;
        if let Verdict::Duplicate { base_offset, .. } = self.producers.check(&header)? {
            return Ok(Appended {
                base_offset,
                append_time_ms: -1,
            });
        }
        let mut append_time_ms = -1;
        if self.settings.timestamps == Timestamps::LogAppend {
            bytes = batch::stamped(&bytes, now);
            header.max_timestamp = now;
            append_time_ms = now;
        }
        let base_offset = self.store(header, &bytes, now)?;
        Ok(Appended {
            base_offset,
            append_time_ms,
        })
    }

    fn admit(&self, bytes: &[u8], header: &Header, now: i64) -> Result<(), AppendError> {
        if self.deleted {
            return Err(AppendError::Deleted);
        }
        let limit = self.settings.max_message_bytes;
        if header.size > limit {
            return Err(AppendError::TooLarge {
                size: header.size,
                limit,
            });
        }
        if header.is_control() {
            return Err(AppendError::Record("clients may not write control batches"));
        }
        if header.records < 1 || header.records != header.last_offset_delta.saturating_add(1) {
            return Err(AppendError::Record(
                "record count and last offset do not match",
            ));
        }
        if self.settings.timestamps == Timestamps::Create && header.max_timestamp > now + 3_600_000
        {
            return Err(AppendError::Timestamp);
        }
        if self.settings.compact && !header.is_compressed() {
            for record in super::records::Records::new(&bytes[batch::HEADER..]) {
                let record = record.map_err(|_| AppendError::Record("malformed record"))?;
                if record.key.is_none() {
                    return Err(AppendError::Record("a compacted topic needs record keys"));
                }
            }
        }
        Ok(())
    }

    /// Ends a producer's transaction in this partition; returns the marker's offset.
    pub(crate) fn append_marker(
        &mut self,
        producer_id: i64,
        epoch: i16,
        outcome: Outcome,
    ) -> Result<i64, AppendError> {
        if self.deleted {
            return Err(AppendError::Deleted);
        }
        if self
            .producers
            .get(producer_id)
            .is_some_and(|p| epoch < p.epoch)
        {
            return Err(AppendError::Epoch);
        }
        let now = clock::now_ms();
        let bytes = batch::marker(self.end(), producer_id, epoch, outcome, now);
        let header = Header::parse(&bytes).ok_or(AppendError::Record("malformed marker"))?;
        self.store(header, &bytes, now)
    }

    fn store(&mut self, mut header: Header, bytes: &[u8], now: i64) -> Result<i64, AppendError> {
        if self.must_roll(header.size as u64, now) {
            self.roll(now)?;
        }
        header.base_offset = self.end();
        if header.is_control() {
            self.active
                .note_end(&self.dir, &header, bytes, &self.producers)?;
        }
        self.active.append(&self.files, &header, bytes)?;
        if header.is_control() {
            self.producers.end(&header);
        } else {
            self.producers.record(&header);
        }
        self.dirty = true;
        if self.fsync == Fsync::Always {
            self.sync()?;
        }
        Ok(header.base_offset)
    }

    fn must_roll(&self, incoming: u64, now: i64) -> bool {
        let active = &self.active;
        active.size > 0
            && (active.size + incoming > self.settings.segment_bytes
                || now - active.born_ms > self.settings.segment_ms
                || active.next_offset - active.base > i64::from(i32::MAX))
    }

    /// Finishes the active segment and creates the next.
    pub(super) fn roll(&mut self, now: i64) -> io::Result<()> {
        if self.fsync != Fsync::Never {
            self.sync()?;
        }
        let (next, files) = Segment::create(&self.dir, self.end(), &self.producers, now)?;
        self.active.seal(&self.dir)?;
        self.sealed.push(std::mem::replace(&mut self.active, next));
        self.files = files;
        Ok(())
    }

    /// The epoch of the producer's last batch.
    pub(crate) fn producer_epoch(&self, producer_id: i64) -> Option<i16> {
        self.producers.get(producer_id).map(|p| p.epoch)
    }

    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    /// One past the last offset: the high watermark of a single node.
    pub(crate) fn end(&self) -> i64 {
        self.active.next_offset
    }

    /// The last stable offset: every transaction before it has ended.
    pub(crate) fn last_stable(&self) -> i64 {
        self.producers.first_unstable().unwrap_or(self.end())
    }

    pub(crate) fn start(&self) -> i64 {
        self.log_start
    }

    /// Bytes stored.
    pub(crate) fn size(&self) -> u64 {
        self.segments().map(|s| s.size).sum()
    }

    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.sealed.iter().chain(std::iter::once(&self.active))
    }

    pub(super) fn files_of(&self, segment: &Segment) -> io::Result<Files> {
        if segment.base == self.active.base {
            Ok(self.files.clone())
        } else {
            segment.open(&self.dir)
        }
    }

    pub(crate) fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Makes every further append fail.
    pub(crate) fn mark_deleted(&mut self) {
        self.deleted = true;
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.files.log.sync_data()?;
        }
        Ok(())
    }

    /// The file to sync, if it was written since the last call; syncing needs no lock.
    pub(crate) fn take_dirty(&mut self) -> Option<Arc<std::fs::File>> {
        std::mem::take(&mut self.dirty).then(|| self.files.log.clone())
    }

    /// Writes the clean-shutdown marker, so that the next start does not scan.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.sync()?;
        super::recovery::write_clean(&self.dir, &self.active, &self.producers)
    }
}
