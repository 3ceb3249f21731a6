//! A partition written, damaged, opened again and read.

use super::{
    batch::{Header, Outcome, tests::batch},
    partition::{AppendError, PartitionLog},
    read::Ask,
};
use crate::{config::Fsync, settings::Settings};
use bytes::Bytes;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

fn settings(pairs: &[(&str, &str)]) -> Arc<Settings> {
    let overrides: BTreeMap<_, _> = pairs
        .iter()
        .map(|&(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    Arc::new(Settings::parse(&overrides).unwrap())
}

fn open(dir: &Path) -> PartitionLog {
    PartitionLog::open(dir, settings(&[("segment.bytes", "2000")]), Fsync::Never).unwrap()
}

fn append(
    log: &mut PartitionLog,
    producer: (i64, i16, i32),
    open: bool,
    value: &[u8],
) -> Result<i64, AppendError> {
    let bytes = Bytes::from(batch(producer, open, 5, &[(Some(b"k"), Some(value))]));
    let header = Header::validate(&bytes).unwrap();
    Ok(log.append(bytes, header)?.base_offset)
}

/// Base offsets of everything a reader is given, fetching `max_bytes` at a time.
fn offsets(log: &PartitionLog, max_bytes: usize, committed: bool) -> Vec<i64> {
    let mut out = Vec::new();
    let mut offset = log.start();
    loop {
        let ask = Ask {
            offset,
            max_bytes,
            committed,
            at_least_one: true,
        };
        let Some(slice) = log.read(ask).unwrap().slice else {
            return out;
        };
        let mut bytes = vec![0; slice.length];
        slice
            .file
            .read_exact_at(&mut bytes, slice.position)
            .unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = Header::parse(rest).unwrap().size;
            let header = Header::validate(&rest[..size]).unwrap();
            out.push(header.base_offset);
            offset = header.next_offset();
            rest = &rest[size..];
        }
    }
}

fn newest_log(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .max()
        .unwrap()
}

/// Plain, committed, aborted and open, over several segments.
fn write(dir: &Path, rounds: i32) -> PartitionLog {
    let mut log = open(dir);
    for i in 0..rounds {
        append(&mut log, (-1, -1, -1), false, &[b'p'; 100]).unwrap();
        append(&mut log, (1, 0, i), true, &[b't'; 100]).unwrap();
        let outcome = if i % 2 == 0 {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        log.append_marker(1, 0, outcome).unwrap();
    }
    append(&mut log, (2, 0, 0), true, b"open").unwrap();
    append(&mut log, (-1, -1, -1), false, b"after").unwrap();
    log
}

#[test]
fn everything_is_read_whatever_the_fetch_size() {
    let dir = tempfile::tempdir().unwrap();
    let log = write(dir.path(), 20);
    let all: Vec<i64> = (0..62).collect();
    for max_bytes in [1, 100, 300, 5000, 1 << 20] {
        assert_eq!(offsets(&log, max_bytes, false), all);
        assert_eq!(offsets(&log, max_bytes, true), all[..60]);
    }
    assert_eq!((log.last_stable(), log.end()), (60, 62));
}

#[test]
fn a_fetch_names_the_aborted_transactions_it_overlaps() {
    let dir = tempfile::tempdir().unwrap();
    let log = write(dir.path(), 20);
    // Round i: plain at 3i, transactional at 3i+1, marker at 3i+2; odd rounds are aborted.
    for offset in 0..60 {
        let view = log
            .read(Ask {
                offset,
                max_bytes: 1,
                committed: true,
                at_least_one: true,
            })
            .unwrap();
        let round = offset / 3;
        let expected = round % 2 == 1 && offset % 3 >= 1;
        assert_eq!(view.aborted.len(), usize::from(expected), "at {offset}");
        assert!(view.aborted.iter().all(|a| a.first_offset == round * 3 + 1));
    }
}

#[test]
fn opened_again_it_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for clean in [false, true] {
        let mut log = if clean {
            open(dir.path())
        } else {
            write(dir.path(), 20)
        };
        if clean {
            log.close().unwrap();
        }
        let (producers, end, stable) = (log.producers().clone(), log.end(), log.last_stable());
        drop(log);
        let log = open(dir.path());
        assert_eq!(log.producers(), &producers);
        assert_eq!((log.end(), log.last_stable()), (end, stable));
        assert_eq!(offsets(&log, 500, false), (0..62).collect::<Vec<_>>());
    }
}

#[test]
fn a_lost_seal_or_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(write(dir.path(), 20));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|e| e == "seal" || e == "index" || e == "aborted")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    let log = open(dir.path());
    assert_eq!(offsets(&log, 500, false), (0..62).collect::<Vec<_>>());
    let ask = Ask {
        offset: 4,
        max_bytes: 1,
        committed: true,
        at_least_one: true,
    };
    assert_eq!(log.read(ask).unwrap().aborted.len(), 1);
}

#[test]
fn records_can_be_deleted_from_the_front() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = write(dir.path(), 20);
    assert_eq!(log.delete_before(30).unwrap(), Some(30));
    assert_eq!(log.delete_before(1000).unwrap(), None);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.start(), 30);
    assert_eq!(offsets(&log, 500, false), (30..62).collect::<Vec<_>>());
}

#[test]
fn a_marker_outlives_what_it_committed() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [
        ("segment.bytes", "300"),
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", "0"),
    ];
    let mut log = PartitionLog::open(dir.path(), settings(&pairs), Fsync::Never).unwrap();
    for (i, outcome) in [Outcome::Commit, Outcome::Commit, Outcome::Abort]
        .into_iter()
        .enumerate()
    {
        append(&mut log, (1, 0, i as i32), true, &[b't'; 100]).unwrap();
        log.append_marker(1, 0, outcome).unwrap();
    }
    log.roll(crate::clock::now_ms()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    for reopened in [false, true] {
        if reopened {
            log = PartitionLog::open(dir.path(), settings(&pairs), Fsync::Never).unwrap();
        }
        if let Some(plan) = log.compaction_plan().unwrap() {
            log.adopt(plan.run().unwrap()).unwrap();
        }
        // The newest committed value, with its marker; those before it went with what they ended.
        let kept = offsets(&log, 1 << 20, true);
        assert_eq!(kept[..2], [2, 3]);
        let ask = Ask {
            offset: 0,
            max_bytes: 1 << 20,
            committed: true,
            at_least_one: true,
        };
        let aborted = log.read(ask).unwrap().aborted;
        assert!(aborted.iter().all(|a| a.first_offset > 2), "{aborted:?}");
    }
}

#[test]
fn compaction_drops_aborted_records_and_old_values() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [
        ("segment.bytes", "1000"),
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    let mut log = PartitionLog::open(dir.path(), settings(&pairs), Fsync::Never).unwrap();
    for i in 0..10 {
        append(&mut log, (1, 0, i), true, &[b't'; 100]).unwrap();
        let outcome = if i == 9 {
            Outcome::Abort
        } else {
            Outcome::Commit
        };
        log.append_marker(1, 0, outcome).unwrap();
    }
    log.roll(crate::clock::now_ms()).unwrap();
    let done = log.compaction_plan().unwrap().unwrap().run().unwrap();
    log.adopt(done).unwrap();
    let is_data = |o: &i64| o % 2 == 0;
    // The newest committed value is round 8's, at offset 16; markers stay for a day.
    let data: Vec<_> = offsets(&log, 1 << 20, true)
        .into_iter()
        .filter(is_data)
        .collect();
    assert_eq!(data, [16]);
    drop(log);
    let log = PartitionLog::open(dir.path(), settings(&pairs), Fsync::Never).unwrap();
    assert_eq!(log.end(), 20);
    let data: Vec<_> = offsets(&log, 1 << 20, true)
        .into_iter()
        .filter(is_data)
        .collect();
    assert_eq!(data, [16]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cut_or_flipped_anywhere_a_prefix_survives_and_grows_on(
        rounds in 1..12i32,
        at in any::<prop::sample::Index>(),
        flip in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let end = write(dir.path(), rounds).end();
        let path = newest_log(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        if flip { bytes[at] ^= 0x10 } else { bytes.truncate(at) }
        std::fs::write(&path, &bytes).unwrap();

        let mut log = open(dir.path());
        let read = offsets(&log, 700, false);
        prop_assert_eq!(&read, &(0..read.len() as i64).collect::<Vec<_>>());
        prop_assert_eq!(log.end(), read.len() as i64);
        prop_assert!(log.end() <= end);
        let next = append(&mut log, (-1, -1, -1), false, b"next").unwrap();
        prop_assert_eq!(next, read.len() as i64);
        drop(log);
        prop_assert_eq!(open(dir.path()).end(), next + 1);
    }
}
