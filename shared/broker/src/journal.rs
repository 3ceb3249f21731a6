//! A journal: an append-only file of checksummed entries. Topics, groups and transactions have one each.
//!
//! An entry is `length u32, crc32c u32, payload`. Opening replays the valid prefix and truncates a torn tail. When the file
//! has grown much larger than its last snapshot, its owner writes a new snapshot and renames it over the file.

use crate::config::Fsync;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const HEADER: usize = 8;
/// A length greater than this is corrupt.
const MAX_ENTRY: usize = 64 << 20;
/// Smaller files are not rewritten.
const SMALL: u64 = 1 << 20;

/// An open journal. One owner writes it at a time.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    size: u64,
    /// Size after the last rewrite.
    live: u64,
    fsync: Fsync,
}

impl Journal {
    /// Opens or creates the journal and passes every valid entry to `replay`, oldest first.
    ///
    /// # Errors
    /// If the file can't be read, or `replay` rejects an entry.
    pub(crate) fn open(
        path: &Path,
        fsync: Fsync,
        mut replay: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let mut at = 0;
        while let Some(payload) = entry(&content[at..]) {
            replay(payload)?;
            at += HEADER + payload.len();
        }
        if at < content.len() {
            tracing::warn!(path = %path.display(), bytes = content.len() - at, "cut off a torn tail");
            file.set_len(at as u64)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            size: at as u64,
            live: at as u64,
            fsync,
        })
    }

    /// Appends one entry; on error nothing counts as written.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        frame(&mut bytes, payload);
        self.file.write_all_at(&bytes, self.size)?;
        if self.fsync == Fsync::Always {
            self.file.sync_data()?;
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Whether the file has grown enough since its last snapshot to be rewritten.
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.size > SMALL && self.size > self.live * 4
    }

    /// Replaces the content by a snapshot.
    pub(crate) fn rewrite(&mut self, entries: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for payload in entries {
            frame(&mut bytes, &payload);
        }
        let beside = self.path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&beside)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        std::fs::rename(&beside, &self.path)?;
        self.file = file;
        self.size = bytes.len() as u64;
        self.live = self.size;
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn frame(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_be_bytes());
    out.extend_from_slice(payload);
}

/// The first entry's payload, if it is whole and its checksum right.
fn entry(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .filter(|&l| l > 0 && l <= MAX_ENTRY)?;
    let payload = rest.get(..length)?;
    (crc32c::crc32c(payload) == u32::from_be_bytes(*crc)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replayed(path: &Path) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        Journal::open(path, Fsync::Never, |p| {
            out.push(p.to_vec());
            Ok(())
        })
        .unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cut_or_flipped_anywhere_a_prefix_survives(
            entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..12),
            at in any::<prop::sample::Index>(),
            flip in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("j.log");
            let mut journal = Journal::open(&path, Fsync::Never, |_| Ok(())).unwrap();
            for e in &entries { journal.append(e).unwrap(); }
            drop(journal);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if flip { bytes[at] ^= 0x40; } else { bytes.truncate(at); }
            std::fs::write(&path, &bytes).unwrap();
            let read = replayed(&path);
            prop_assert!(read.len() <= entries.len());
            prop_assert_eq!(&read[..], &entries[..read.len()]);
            // What comes next is kept.
            let mut journal = Journal::open(&path, Fsync::Never, |_| Ok(())).unwrap();
            journal.append(b"next").unwrap();
            drop(journal);
            let read = replayed(&path);
            prop_assert_eq!(&read[read.len() - 1][..], b"next");
        }
    }

    #[test]
    fn a_rewrite_replaces_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.log");
        let mut journal = Journal::open(&path, Fsync::Never, |_| Ok(())).unwrap();
        for _ in 0..10 {
            journal.append(b"old").unwrap();
        }
        journal.rewrite([b"live".to_vec()]).unwrap();
        journal.append(b"more").unwrap();
        assert_eq!(replayed(&path), [b"live".to_vec(), b"more".to_vec()]);
    }
}
