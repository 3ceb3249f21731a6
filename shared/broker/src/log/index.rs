//! The sparse index beside a segment: one fixed-size entry for every few kilobytes of log, searched on disk.
//!
//! It is not kept in memory, so the broker's memory does not grow with the stored data. A look-up takes some fifteen reads
//! of 16 bytes from the page cache.

use std::{fs::File, io, os::unix::fs::FileExt};

/// Bytes of one entry.
pub(crate) const ENTRY: usize = 16;

/// The position of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Base offset of the batch, relative to the segment's.
    pub relative_offset: u32,
    /// Byte position of the batch.
    pub position: u32,
    /// The largest timestamp before this batch in the segment; does not decrease from entry to entry.
    pub max_timestamp_before: i64,
}

impl Entry {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        out[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        out[4..8].copy_from_slice(&self.position.to_be_bytes());
        out[8..].copy_from_slice(&self.max_timestamp_before.to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
        Self {
            relative_offset: u32::from_be_bytes([*a, *b, *c, *d]),
            position: u32::from_be_bytes([*e, *f, *g, *h]),
            max_timestamp_before: i64::from_be_bytes(*rest),
        }
    }
}

/// The position of the last entry for which `before` holds; 0, the segment's start, when there is none.
pub(crate) fn floor(
    index: &File,
    entries: u32,
    before: impl Fn(&Entry) -> bool,
) -> io::Result<u32> {
    let (mut low, mut high, mut found) = (0, entries, 0);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut bytes = [0; ENTRY];
        index.read_exact_at(&mut bytes, u64::from(middle) * ENTRY as u64)?;
        let entry = Entry::from_bytes(&bytes);
        if before(&entry) {
            found = entry.position;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_finds_the_last_entry_that_holds() {
        let file = tempfile::tempfile().unwrap();
        for i in 0..100u32 {
            let entry = Entry {
                relative_offset: i * 10,
                position: i * 1000,
                max_timestamp_before: i64::from(i),
            };
            file.write_all_at(&entry.to_bytes(), u64::from(i) * ENTRY as u64)
                .unwrap();
        }
        for target in [0, 5, 10, 995, 2000] {
            let expected = (target / 10).min(99) * 1000;
            assert_eq!(
                floor(&file, 100, |e| e.relative_offset <= target).unwrap(),
                expected
            );
        }
        assert_eq!(floor(&file, 0, |_| true).unwrap(), 0);
    }
}
