//! Reading a partition: finding the bytes for a fetch, and offsets by time.

use super::{
    aborted::Aborted,
    batch::{self, Header},
    partition::PartitionLog,
    records::Records,
    segment::{Files, Segment},
};
use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

/// Complete batches, contiguous in one file.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub file: Arc<File>,
    pub position: u64,
    pub length: usize,
}

/// The result of a fetch from one partition.
#[derive(Debug)]
pub(crate) struct View {
    pub slice: Option<Slice>,
    pub high_watermark: i64,
    pub last_stable: i64,
    pub log_start: i64,
    /// Filled for read-committed fetches only.
    pub aborted: Vec<Aborted>,
}

/// Why a fetch fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("offset out of range")]
    OutOfRange,
    #[error("the partition was deleted")]
    Deleted,
    #[error("log file")]
    Storage(#[from] io::Error),
}

/// A fetch from one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub offset: i64,
    pub max_bytes: usize,
    /// Read committed: stop at the last stable offset and list aborted transactions.
    pub committed: bool,
    /// Return the first batch even if it is larger than `max_bytes`.
    pub at_least_one: bool,
}

impl PartitionLog {
    /// Finds the batches from `ask.offset` on.
    pub(crate) fn read(&self, ask: Ask) -> Result<View, ReadError> {
        if self.deleted {
            return Err(ReadError::Deleted);
        }
        if ask.offset < self.log_start || ask.offset > self.end() {
            return Err(ReadError::OutOfRange);
        }
        let limit = if ask.committed {
            self.last_stable()
        } else {
            self.end()
        };
        let mut view = View {
            slice: None,
            high_watermark: self.end(),
            last_stable: self.last_stable(),
            log_start: self.log_start,
            aborted: Vec::new(),
        };
        if ask.offset >= limit {
            return Ok(view);
        }
        let from = self
            .sealed
            .partition_point(|s| s.base <= ask.offset)
            .saturating_sub(1);
        for (at, segment) in self.segments().enumerate().skip(from) {
            let Some((slice, upto)) = self.slice(segment, ask, limit)? else {
                continue;
            };
            if slice.length > 0 {
                view.slice = Some(slice);
            }
            if ask.committed {
                self.aborted_between(at, ask.offset, upto, &mut view.aborted)?;
            }
            break;
        }
        Ok(view)
    }

    /// The batches of one segment that match, and the offset that they end before; `None` if all are in later segments.
    fn slice(&self, segment: &Segment, ask: Ask, limit: i64) -> io::Result<Option<(Slice, i64)>> {
        if segment.next_offset <= ask.offset || segment.size == 0 {
            return Ok(None);
        }
        let files = self.files_of(segment)?;
        let Some((start, first)) = find(segment, &files, ask.offset)? else {
            return Ok(None);
        };
        let (mut end, mut upto) = if limit < segment.next_offset {
            match find(segment, &files, limit)? {
                Some((position, header)) => (position, header.base_offset),
                None => (segment.size, limit),
            }
        } else {
            (segment.size, segment.next_offset)
        };
        let wanted = start + ask.max_bytes as u64;
        if end > wanted {
            (end, upto) = (start, first.base_offset);
            for header in
                segment.headers(&files, segment.floor_position(&files, wanted)?.max(start))
            {
                let (position, header) = header?;
                if position > wanted {
                    break;
                }
                (end, upto) = (position, header.base_offset);
            }
            if end == start && ask.at_least_one {
                (end, upto) = (start + first.size as u64, first.next_offset());
            }
        }
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        Ok(Some((
            Slice {
                file: files.log,
                position: start,
                length,
            },
            upto,
        )))
    }

    fn aborted_between(
        &self,
        from_segment: usize,
        from: i64,
        upto: i64,
        out: &mut Vec<Aborted>,
    ) -> io::Result<()> {
        for segment in self.segments().skip(from_segment) {
            if segment.collect_aborted(&self.dir, from, upto, out)? {
                break;
            }
        }
        Ok(())
    }

    /// Offset and timestamp of the first record at or after `timestamp`; of a compressed batch, the batch's start.
    pub(crate) fn offset_at(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        for segment in self.segments().filter(|s| s.max_timestamp >= timestamp) {
            let files = self.files_of(segment)?;
            for header in segment.headers(&files, segment.floor_timestamp(&files, timestamp)?) {
                let (position, header) = header?;
                if header.max_timestamp >= timestamp && header.last_offset() >= self.log_start {
                    let found = record_at(&files, position, &header, |t| t >= timestamp)?;
                    if found.0 >= self.log_start {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp.
    pub(crate) fn offset_of_newest(&self) -> io::Result<Option<(i64, i64)>> {
        let Some(newest) = self
            .segments()
            .map(|s| s.max_timestamp)
            .max()
            .filter(|&t| t >= 0)
        else {
            return Ok(None);
        };
        self.offset_at(newest)
    }
}

/// The first batch that ends at or after `offset`.
fn find(segment: &Segment, files: &Files, offset: i64) -> io::Result<Option<(u64, Header)>> {
    for header in segment.headers(files, segment.floor_offset(files, offset)?) {
        let (position, header) = header?;
        if header.last_offset() >= offset {
            return Ok(Some((position, header)));
        }
    }
    Ok(None)
}

/// The first record of a batch whose timestamp fits.
fn record_at(
    files: &Files,
    position: u64,
    header: &Header,
    fits: impl Fn(i64) -> bool,
) -> io::Result<(i64, i64)> {
    let whole = (header.base_offset, header.max_timestamp);
    if header.is_compressed() || header.is_stamped() {
        return Ok(whole);
    }
    let mut bytes = vec![0; header.size];
    files.log.read_exact_at(&mut bytes, position)?;
    let records = Records::new(&bytes[batch::HEADER..]).map_while(Result::ok);
    let found = records
        .map(|r| {
            (
                header.base_offset + r.offset_delta,
                header.base_timestamp + r.timestamp_delta,
            )
        })
        .find(|r| fits(r.1));
    Ok(found.unwrap_or(whole))
}
