//! The aborted transactions of a segment, in the order of their markers. A read-committed fetch returns them, and its
//! consumer skips their records.

use std::{fs::File, io, os::unix::fs::FileExt};

/// Bytes of one entry.
pub(crate) const ENTRY: usize = 32;

/// One aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Offset of the abort marker; increases from entry to entry.
    pub marker_offset: i64,
    /// The last stable offset after this transaction ended.
    pub last_stable: i64,
}

impl Aborted {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        for (chunk, value) in out.chunks_exact_mut(8).zip([
            self.producer_id,
            self.first_offset,
            self.marker_offset,
            self.last_stable,
        ]) {
            chunk.copy_from_slice(&value.to_be_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let mut values = [0i64; 4];
        for (value, chunk) in values.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = chunk.try_into().map_or(0, i64::from_be_bytes);
        }
        let [producer_id, first_offset, marker_offset, last_stable] = values;
        Self {
            producer_id,
            first_offset,
            marker_offset,
            last_stable,
        }
    }
}

fn entry(file: &File, at: u32) -> io::Result<Aborted> {
    let mut bytes = [0; ENTRY];
    file.read_exact_at(&mut bytes, u64::from(at) * ENTRY as u64)?;
    Ok(Aborted::from_bytes(&bytes))
}

/// Adds the transactions that overlap `from..upto`. Returns whether later segments can't have more.
pub(crate) fn collect(
    file: &File,
    entries: u32,
    from: i64,
    upto: i64,
    out: &mut Vec<Aborted>,
) -> io::Result<bool> {
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(file, middle)?.marker_offset < from {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for at in low..entries {
        let aborted = entry(file, at)?;
        if aborted.first_offset < upto {
            out.push(aborted);
        }
        if aborted.last_stable >= upto {
            return Ok(true);
        }
    }
    Ok(false)
}
