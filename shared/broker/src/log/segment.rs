//! One segment of a partition: the log file and the files beside it.
//!
//! | file | holds |
//! |---|---|
//! | `<base>.log` | record batches as received, base offsets rewritten |
//! | `<base>.index` | the sparse index |
//! | `<base>.aborted` | transactions whose abort marker is in this segment |
//! | `<base>.producers` | the state of producers before the first batch |
//! | `<base>.seal` | totals of a finished segment, so that start-up need not scan it |
//!
//! Only the newest segment is written to and keeps its files open.

use super::{
    aborted::{self, Aborted},
    batch::{self, HEADER, Header},
    index::{self, Entry},
    producers::Producers,
};
use crate::{
    clock,
    codec::{self, Reader, Writer},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of log between two index entries.
const INDEX_EVERY: u64 = 4096;

/// A segment's totals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub base: i64,
    /// One past the last offset.
    pub next_offset: i64,
    pub size: u64,
    /// -1 if the segment is empty.
    pub max_timestamp: i64,
    /// Wall-clock milliseconds at which the segment was created.
    pub born_ms: i64,
    index_entries: u32,
    indexed: u64,
    pub aborted: u32,
}

/// The open files of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub log: Arc<File>,
    index: Arc<File>,
}

pub(crate) fn path(dir: &Path, base: i64, kind: &str) -> PathBuf {
    dir.join(format!("{base:020}.{kind}"))
}

pub(crate) fn open_rw(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Writes a small checksummed file atomically: after a crash it is complete or absent.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, codec::checked(content))?;
    std::fs::rename(&beside, path)
}

/// Reads what [`write_whole`] wrote; `None` if absent or damaged.
pub(crate) fn read_whole(path: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    codec::unchecked(&bytes).map(<[u8]>::to_vec)
}

impl Segment {
    fn empty(base: i64, born_ms: i64) -> Self {
        Self {
            base,
            next_offset: base,
            size: 0,
            max_timestamp: -1,
            born_ms,
            index_entries: 0,
            indexed: 0,
            aborted: 0,
        }
    }

    /// Creates a segment: its producers' snapshot first, its log last.
    pub(crate) fn create(
        dir: &Path,
        base: i64,
        producers: &Producers,
        born_ms: i64,
    ) -> io::Result<(Self, Files)> {
        write_whole(&path(dir, base, "producers"), &producers.encode())?;
        for kind in ["index", "aborted", "seal"] {
            remove(&path(dir, base, kind))?;
        }
        let segment = Self::empty(base, born_ms);
        let files = segment.open(dir)?;
        Ok((segment, files))
    }

    pub(crate) fn open(&self, dir: &Path) -> io::Result<Files> {
        let log = Arc::new(open_rw(&path(dir, self.base, "log"))?);
        let index = Arc::new(open_rw(&path(dir, self.base, "index"))?);
        Ok(Files { log, index })
    }

    /// Reads a finished segment's totals; `None` if they are missing or don't match the files.
    pub(crate) fn sealed(dir: &Path, base: i64) -> Option<Self> {
        let bytes = read_whole(&path(dir, base, "seal"))?;
        let mut input = Reader(&bytes);
        let segment = Self {
            base,
            next_offset: input.i64().ok()?,
            size: input.u64().ok()?,
            max_timestamp: input.i64().ok()?,
            born_ms: input.i64().ok()?,
            index_entries: input.u32().ok()?,
            indexed: input.u64().ok()?,
            aborted: input.u32().ok()?,
        };
        let length = |kind| std::fs::metadata(path(dir, base, kind)).map_or(0, |m| m.len());
        let fits = length("log") == segment.size
            && length("index") >= u64::from(segment.index_entries) * index::ENTRY as u64
            && length("aborted") >= u64::from(segment.aborted) * aborted::ENTRY as u64;
        fits.then_some(segment)
    }

    /// Marks the segment finished.
    pub(crate) fn seal(&self, dir: &Path) -> io::Result<()> {
        let mut out = Writer::default();
        out.i64(self.next_offset)
            .u64(self.size)
            .i64(self.max_timestamp)
            .i64(self.born_ms);
        out.u32(self.index_entries)
            .u64(self.indexed)
            .u32(self.aborted);
        write_whole(&path(dir, self.base, "seal"), &out.0)
    }

    pub(crate) fn delete(&self, dir: &Path) -> io::Result<()> {
        for kind in ["seal", "log", "index", "aborted", "producers"] {
            remove(&path(dir, self.base, kind))?;
        }
        Ok(())
    }

    /// Appends a batch whose offsets are assigned. After an error the segment is as before.
    pub(crate) fn append(
        &mut self,
        files: &Files,
        header: &Header,
        bytes: &[u8],
    ) -> io::Result<()> {
        let prefix = batch::prefix(header.base_offset, header.size);
        let (head, body) = bytes.split_at(batch::REWRITTEN);
        if head == prefix {
            files.log.write_all_at(bytes, self.size)?;
        } else if bytes.len() <= 1 << 16 {
            let mut copy = Vec::with_capacity(bytes.len());
            copy.extend_from_slice(&prefix);
            copy.extend_from_slice(body);
            files.log.write_all_at(&copy, self.size)?;
        } else {
            files.log.write_all_at(&prefix, self.size)?;
            files
                .log
                .write_all_at(body, self.size + batch::REWRITTEN as u64)?;
        }
        self.count(files, header)
    }

    /// Adds a batch at the end of the log to the totals and the index.
    fn count(&mut self, files: &Files, header: &Header) -> io::Result<()> {
        if self.size >= self.indexed + INDEX_EVERY {
            let relative_offset = u32::try_from(header.base_offset - self.base);
            if let (Ok(relative_offset), Ok(position)) = (relative_offset, u32::try_from(self.size))
            {
                let entry = Entry {
                    relative_offset,
                    position,
                    max_timestamp_before: self.max_timestamp,
                };
                files.index.write_all_at(
                    &entry.to_bytes(),
                    u64::from(self.index_entries) * index::ENTRY as u64,
                )?;
                self.index_entries += 1;
                self.indexed = self.size;
            }
        }
        self.size += header.size as u64;
        self.next_offset = header.next_offset();
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        Ok(())
    }

    fn note_aborted(&mut self, dir: &Path, aborted: Aborted) -> io::Result<()> {
        let file = open_rw(&path(dir, self.base, "aborted"))?;
        file.write_all_at(
            &aborted.to_bytes(),
            u64::from(self.aborted) * aborted::ENTRY as u64,
        )?;
        self.aborted += 1;
        Ok(())
    }

    /// Adds the aborted transactions that overlap `from..upto`. Returns whether later segments can't have more.
    pub(crate) fn collect_aborted(
        &self,
        dir: &Path,
        from: i64,
        upto: i64,
        out: &mut Vec<Aborted>,
    ) -> io::Result<bool> {
        if self.aborted == 0 {
            return Ok(false);
        }
        let file = File::open(path(dir, self.base, "aborted"))?;
        aborted::collect(&file, self.aborted, from, upto, out)
    }

    /// Recomputes a segment's totals from its log and truncates the log at the first incomplete or corrupt batch. Offsets have
    /// no gaps, except in a compacted segment; `below` is then the base offset of the next segment.
    pub(crate) fn recover(
        dir: &Path,
        base: i64,
        below: Option<i64>,
        producers: &mut Producers,
    ) -> io::Result<(Self, Files)> {
        let log_path = path(dir, base, "log");
        let born = std::fs::metadata(&log_path).and_then(|m| m.created().or_else(|_| m.modified()));
        let born_ms = born.map_or_else(|_| clock::now_ms(), clock::millis);
        for kind in ["index", "aborted", "seal"] {
            remove(&path(dir, base, kind))?;
        }
        let mut segment = Self::empty(base, born_ms);
        let files = segment.open(dir)?;
        let length = files.log.metadata()?.len();
        let mut buffer = Vec::new();
        while let Some(header) = whole_batch(&files.log, segment.size, length, &mut buffer)? {
            // The checksum doesn't cover the offset.
            let follows = match below {
                None => header.base_offset == segment.next_offset,
                Some(below) => (segment.next_offset..below).contains(&header.base_offset),
            };
            if !follows {
                break;
            }
            if header.is_control() {
                segment.note_end(dir, &header, &buffer, producers)?;
                producers.end(&header);
            } else {
                producers.record(&header);
            }
            segment.count(&files, &header)?;
        }
        if segment.size < length {
            let bytes = length - segment.size;
            tracing::warn!(path = %log_path.display(), bytes, "cut off a torn tail");
            files.log.set_len(segment.size)?;
        }
        Ok((segment, files))
    }

    /// Records the transaction that a marker is about to abort. This happens before the marker is stored, so that a failure in
    /// between leaves the transaction open instead of its records visible.
    pub(crate) fn note_end(
        &mut self,
        dir: &Path,
        header: &Header,
        bytes: &[u8],
        producers: &Producers,
    ) -> io::Result<()> {
        if batch::marker_outcome(bytes) != Some(batch::Outcome::Abort) {
            return Ok(());
        }
        let producer_id = header.producer_id;
        let Some((first_offset, stable)) = producers.open_transaction(producer_id) else {
            return Ok(());
        };
        let last_stable = stable.unwrap_or(header.next_offset());
        let marker_offset = header.base_offset;
        self.note_aborted(
            dir,
            Aborted {
                producer_id,
                first_offset,
                marker_offset,
                last_stable,
            },
        )
    }

    /// The position of the last indexed batch that begins at or before `offset`.
    pub(crate) fn floor_offset(&self, files: &Files, offset: i64) -> io::Result<u64> {
        let base = self.base;
        index::floor(&files.index, self.index_entries, |e| {
            base + i64::from(e.relative_offset) <= offset
        })
        .map(u64::from)
    }

    /// The position of the last indexed batch that begins at or before `position`.
    pub(crate) fn floor_position(&self, files: &Files, position: u64) -> io::Result<u64> {
        index::floor(&files.index, self.index_entries, |e| {
            u64::from(e.position) <= position
        })
        .map(u64::from)
    }

    /// The position of the last indexed batch before which every timestamp is below `timestamp`.
    pub(crate) fn floor_timestamp(&self, files: &Files, timestamp: i64) -> io::Result<u64> {
        index::floor(&files.index, self.index_entries, |e| {
            e.max_timestamp_before < timestamp
        })
        .map(u64::from)
    }

    /// The batch headers from `position` on.
    pub(crate) fn headers<'a>(&self, files: &'a Files, position: u64) -> Headers<'a> {
        Headers {
            log: &files.log,
            position,
            end: self.size,
        }
    }
}

/// Iterates over the headers of a segment's batches.
pub(crate) struct Headers<'a> {
    log: &'a File,
    position: u64,
    end: u64,
}

impl Iterator for Headers<'_> {
    type Item = io::Result<(u64, Header)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position + HEADER as u64 > self.end {
            return None;
        }
        let mut bytes = [0; HEADER];
        if let Err(error) = self.log.read_exact_at(&mut bytes, self.position) {
            return Some(Err(error));
        }
        let header = Header::parse(&bytes)?;
        let at = self.position;
        self.position += header.size as u64;
        Some(Ok((at, header)))
    }
}

/// The batch at `position`, if it is whole and its checksum right.
fn whole_batch(
    log: &File,
    position: u64,
    length: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Header>> {
    let mut head = [0; HEADER];
    if position + HEADER as u64 > length {
        return Ok(None);
    }
    log.read_exact_at(&mut head, position)?;
    let header = Header::parse(&head).filter(|h| position + h.size as u64 <= length);
    let Some(header) = header else {
        return Ok(None);
    };
    buffer.resize(header.size, 0);
    log.read_exact_at(buffer, position)?;
    // Nor does it cover the leader epoch, which is always the same.
    let prefix = batch::prefix(header.base_offset, header.size);
    Ok(Header::validate(buffer)
        .ok()
        .filter(|_| buffer.starts_with(&prefix)))
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
