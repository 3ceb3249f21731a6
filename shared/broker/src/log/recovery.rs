//! Opening a partition at start-up.
//!
//! The totals of finished segments come from their seal. The newest segment is scanned batch by batch with checksums,
//! starting from its producers' snapshot, unless the clean-shutdown marker has its totals.

use super::{
    producers::Producers,
    segment::{self, Files, Segment},
};
use crate::{
    clock,
    codec::{Reader, Writer},
};
use std::{io, path::Path};

type Recovered = (Vec<Segment>, Segment, Files, Producers);

pub(crate) fn recover(dir: &Path) -> io::Result<Recovered> {
    super::compaction::remove_leftovers(dir)?;
    let clean = segment::read_whole(&dir.join(CLEAN));
    segment::remove(&dir.join(CLEAN))?;
    let bases = bases(dir)?;
    let Some((&newest, older)) = bases.split_last() else {
        let (active, files) = Segment::create(dir, 0, &Producers::default(), clock::now_ms())?;
        return Ok((Vec::new(), active, files, Producers::default()));
    };
    let mut sealed: Vec<Segment> = Vec::new();
    for (at, &base) in older.iter().enumerate() {
        let below = bases.get(at + 1).copied();
        let segment = match Segment::sealed(dir, base) {
            Some(segment) => segment,
            None => {
                let (segment, _) = Segment::recover(dir, base, below, &mut snapshot(dir, base))?;
                segment.seal(dir)?;
                segment
            }
        };
        // An interrupted compaction has merged this segment into the one before it.
        if sealed
            .last()
            .is_some_and(|previous| base < previous.next_offset)
        {
            segment.delete(dir)?;
        } else {
            sealed.push(segment);
        }
    }
    if let Some((active, producers)) = clean.and_then(|bytes| read_clean(dir, newest, &bytes)) {
        let files = active.open(dir)?;
        return Ok((sealed, active, files, producers));
    }
    let mut producers = snapshot(dir, newest);
    let (active, files) = Segment::recover(dir, newest, None, &mut producers)?;
    Ok((sealed, active, files, producers))
}

fn bases(dir: &Path) -> io::Result<Vec<i64>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "log") {
            out.extend(
                path.file_stem()
                    .and_then(|s| s.to_str())
                    .and_then(|s| s.parse::<i64>().ok()),
            );
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// The producers' snapshot of a segment.
pub(super) fn snapshot(dir: &Path, base: i64) -> Producers {
    let path = segment::path(dir, base, "producers");
    let read = segment::read_whole(&path).and_then(|bytes| Producers::decode(&bytes).ok());
    read.unwrap_or_else(|| {
        tracing::warn!(path = %path.display(), "producers' snapshot is missing or damaged");
        Producers::default()
    })
}

const CLEAN: &str = "clean-shutdown";

/// Writes the clean-shutdown marker with the totals of the newest segment.
pub(crate) fn write_clean(dir: &Path, active: &Segment, producers: &Producers) -> io::Result<()> {
    active.seal(dir)?;
    let mut out = Writer::default();
    out.i64(active.base)
        .u64(active.size)
        .bytes(&producers.encode());
    segment::write_whole(&dir.join(CLEAN), &out.0)
}

fn read_clean(dir: &Path, newest: i64, bytes: &[u8]) -> Option<(Segment, Producers)> {
    let mut input = Reader(bytes);
    let (base, size) = (input.i64().ok()?, input.u64().ok()?);
    let producers = Producers::decode(input.bytes().ok()?).ok()?;
    let active = Segment::sealed(dir, newest)?;
    segment::remove(&segment::path(dir, newest, "seal")).ok()?;
    (base == newest && size == active.size).then_some((active, producers))
}
