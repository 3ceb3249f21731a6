//! Compaction: of records with the same key only the newest is kept (`cleanup.policy=compact`).
//!
//! Finished segments below the last stable offset are rewritten one at a time. Records of aborted transactions and old
//! tombstones are removed; a batch keeps its offsets and header. A commit marker is removed only after the last of its
//! records, as in Kafka: without it they would seem to belong to the producer's next transaction. Compressed batches are
//! kept as they are, because batches are opaque to this broker.

use super::{
    aborted::Aborted,
    batch::{self, HEADER, Header},
    partition::PartitionLog,
    records::Records,
    segment::{self, Segment},
};
use crate::clock;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{BuildHasher, RandomState},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The most keys of one pass, some 12 MB of memory; later segments wait for the next pass.
const MAX_KEYS: usize = 200_000;

/// The input of a pass: collected under the partition's lock, processed without it.
pub(crate) struct Plan {
    dir: PathBuf,
    segments: Vec<Segment>,
    aborted: Vec<Aborted>,
    tombstones_before: i64,
    dirty_from: i64,
}

/// The result of a pass.
pub(crate) struct Done {
    rewritten: Vec<(i64, u64)>,
    compacted_to: i64,
}

impl PartitionLog {
    /// The segments to compact; `None` if the topic is not compacted or its share of new data is below
    /// `min.cleanable.dirty.ratio`.
    pub(crate) fn compaction_plan(&self) -> io::Result<Option<Plan>> {
        let stable = self.last_stable();
        let segments: Vec<_> = self
            .sealed
            .iter()
            .take_while(|s| s.next_offset <= stable)
            .cloned()
            .collect();
        let total: u64 = segments.iter().map(|s| s.size).sum();
        let dirty: u64 = segments
            .iter()
            .filter(|s| s.next_offset > self.compacted_to)
            .map(|s| s.size)
            .sum();
        if !self.settings.compact
            || self.deleted
            || dirty == 0
            || (dirty as f64) < self.settings.min_dirty_ratio * total as f64
        {
            return Ok(None);
        }
        let mut aborted = Vec::new();
        for segment in self.segments() {
            segment.collect_aborted(&self.dir, self.log_start, i64::MAX, &mut aborted)?;
        }
        Ok(Some(Plan {
            dir: self.dir.clone(),
            segments,
            aborted,
            tombstones_before: clock::now_ms() - self.settings.delete_retention_ms,
            dirty_from: self.compacted_to,
        }))
    }

    /// Replaces the old segments with the rewritten ones.
    pub(crate) fn adopt(&mut self, done: Done) -> io::Result<()> {
        if self.deleted {
            return Ok(());
        }
        for (base, from_size) in done.rewritten {
            let Some(at) = self
                .sealed
                .iter()
                .position(|s| s.base == base && s.size == from_size)
            else {
                continue;
            };
            let next_offset = self.sealed[at].next_offset;
            segment::remove(&segment::path(&self.dir, base, "seal"))?;
            std::fs::rename(
                segment::path(&self.dir, base, "cleaned"),
                segment::path(&self.dir, base, "log"),
            )?;
            let mut producers = super::recovery::snapshot(&self.dir, base);
            let (mut segment, _) =
                Segment::recover(&self.dir, base, Some(next_offset), &mut producers)?;
            segment.next_offset = next_offset;
            segment.born_ms = self.sealed[at].born_ms;
            segment.seal(&self.dir)?;
            self.sealed[at] = segment;
        }
        let first = self.sealed.first().map(|s| s.base);
        for empty in self
            .sealed
            .extract_if(.., |s| s.size == 0 && Some(s.base) != first)
        {
            empty.delete(&self.dir)?;
        }
        self.compacted_to = done.compacted_to;
        Ok(())
    }
}

impl Plan {
    /// Writes a compacted copy of each segment beside it.
    pub(crate) fn run(&self) -> io::Result<Done> {
        let mut newest = Newest::default();
        let mut compacted_to = self.dirty_from;
        for segment in self
            .segments
            .iter()
            .filter(|s| s.next_offset > self.dirty_from)
        {
            if newest.offsets.len() >= MAX_KEYS {
                break;
            }
            self.each_batch(segment, |header, bytes| {
                newest.note(header, bytes, self.is_aborted(header));
                Ok(())
            })?;
            compacted_to = segment.next_offset;
        }
        let mut rewritten = Vec::new();
        let mut open = HashSet::new();
        for segment in self
            .segments
            .iter()
            .filter(|s| s.next_offset <= compacted_to)
        {
            if self.rewrite(segment, &newest, &mut open)? {
                rewritten.push((segment.base, segment.size));
            }
        }
        Ok(Done {
            rewritten,
            compacted_to,
        })
    }

    /// Whether the batch belongs to a transaction that was aborted.
    fn is_aborted(&self, header: &Header) -> bool {
        let within = |a: &Aborted| {
            a.producer_id == header.producer_id
                && (a.first_offset..a.marker_offset).contains(&header.base_offset)
        };
        header.is_transactional() && !header.is_control() && self.aborted.iter().any(within)
    }

    fn each_batch(
        &self,
        segment: &Segment,
        mut visit: impl FnMut(&Header, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let files = segment.open(&self.dir)?;
        let mut bytes = Vec::new();
        for header in segment.headers(&files, 0) {
            let (position, header) = header?;
            bytes.resize(header.size, 0);
            files.log.read_exact_at(&mut bytes, position)?;
            visit(&header, &bytes)?;
        }
        Ok(())
    }

    /// Returns whether anything was removed. `open` has the producers with records kept since their last marker.
    fn rewrite(
        &self,
        segment: &Segment,
        newest: &Newest,
        open: &mut HashSet<i64>,
    ) -> io::Result<bool> {
        let path = segment::path(&self.dir, segment.base, "cleaned");
        let out = File::create(&path)?;
        let mut size = 0u64;
        self.each_batch(segment, |header, bytes| {
            let ends_records = header.is_control() && open.remove(&header.producer_id);
            let kept = if ends_records {
                Some(bytes.to_vec())
            } else {
                self.thin(header, bytes, newest)
            };
            if let Some(kept) = kept {
                if header.is_transactional() && !header.is_control() {
                    open.insert(header.producer_id);
                }
                out.write_all_at(&kept, size)?;
                size += kept.len() as u64;
            }
            Ok(())
        })?;
        out.sync_data()?;
        if size == segment.size {
            segment::remove(&path)?;
        }
        Ok(size < segment.size)
    }

    /// A batch without the removed records; `None` if none are left.
    fn thin(&self, header: &Header, bytes: &[u8], newest: &Newest) -> Option<Vec<u8>> {
        if header.is_control() {
            let aborts = self
                .aborted
                .iter()
                .any(|a| a.marker_offset == header.base_offset);
            return (aborts || header.max_timestamp >= self.tombstones_before)
                .then(|| bytes.to_vec());
        }
        if self.is_aborted(header) {
            return None;
        }
        if header.is_compressed() {
            return Some(bytes.to_vec());
        }
        let mut out = bytes[..HEADER].to_vec();
        let mut kept = 0i32;
        for record in Records::new(&bytes[HEADER..]).map_while(Result::ok) {
            let offset = header.base_offset + record.offset_delta;
            let old = record.is_tombstone
                && header.base_timestamp + record.timestamp_delta < self.tombstones_before;
            if newest.keeps(record.key, offset) && !old {
                out.extend_from_slice(record.bytes);
                kept += 1;
            }
        }
        if kept == header.records {
            return Some(bytes.to_vec());
        }
        if kept == 0 {
            return None;
        }
        let prefix = batch::prefix(header.base_offset, out.len());
        out[..batch::REWRITTEN].copy_from_slice(&prefix);
        out[57..61].copy_from_slice(&kept.to_be_bytes());
        batch::seal(&mut out);
        Some(out)
    }
}

/// The newest offset of each key, keys by a 128-bit hash.
#[derive(Default)]
struct Newest {
    hashers: (RandomState, RandomState),
    offsets: HashMap<(u64, u64), i64>,
}

impl Newest {
    fn key(&self, key: &[u8]) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    fn note(&mut self, header: &Header, bytes: &[u8], aborted: bool) {
        if header.is_control() || header.is_compressed() || aborted {
            return;
        }
        for record in Records::new(&bytes[HEADER..]).map_while(Result::ok) {
            if let Some(key) = record.key {
                self.offsets
                    .insert(self.key(key), header.base_offset + record.offset_delta);
            }
        }
    }

    fn keeps(&self, key: Option<&[u8]>, offset: i64) -> bool {
        key.is_none_or(|key| {
            self.offsets
                .get(&self.key(key))
                .is_none_or(|&newest| offset >= newest)
        })
    }
}

/// Removes the files of an interrupted pass.
pub(crate) fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|e| e == "cleaned" || e == "new")
        {
            segment::remove(&path)?;
        }
    }
    Ok(())
}
