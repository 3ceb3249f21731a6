//! Deleting from a partition, by age, by size or by DeleteRecords: whole segments, oldest first.

use super::{partition::PartitionLog, segment};
use crate::codec::{Reader, Writer};
use std::{io, path::Path};

const LOG_START: &str = "log-start";
/// Milliseconds after which an idle producer is forgotten (Kafka's `producer.id.expiration.ms`).
const PRODUCER_EXPIRY_MS: i64 = 86_400_000;

/// The file with the first offset that `DeleteRecords` kept.
pub(crate) fn read_log_start(dir: &Path) -> Option<i64> {
    Reader(&segment::read_whole(&dir.join(LOG_START))?)
        .i64()
        .ok()
}

impl PartitionLog {
    /// Deletes the segments that exceed the topic's `retention.ms` or `retention.bytes`.
    pub(crate) fn enforce_retention(&mut self, now: i64) -> io::Result<()> {
        self.producers.expire(now - PRODUCER_EXPIRY_MS);
        if !self.settings.delete {
            return Ok(());
        }
        let stable = self.last_stable();
        let too_old = |s: &segment::Segment, keep: Option<i64>| {
            keep.is_some_and(|ms| s.size > 0 && s.max_timestamp < now - ms)
        };
        if self.sealed.is_empty() && self.active.size == 0 {
            return Ok(());
        }
        if too_old(&self.active, self.settings.retention_ms) && stable == self.end() {
            self.roll(now)?;
        }
        let mut size = self.size();
        let keep_bytes = self.settings.retention_bytes.unwrap_or(u64::MAX);
        let mut gone = 0;
        for segment in &self.sealed {
            let too_much = size.saturating_sub(segment.size) >= keep_bytes;
            if segment.next_offset > stable
                || !(too_much || too_old(segment, self.settings.retention_ms))
            {
                break;
            }
            size -= segment.size;
            gone += 1;
        }
        self.drop_oldest(gone)
    }

    fn drop_oldest(&mut self, count: usize) -> io::Result<()> {
        let start = self.sealed.get(count).map_or(self.active.base, |s| s.base);
        self.log_start = self.log_start.max(start);
        for segment in self.sealed.drain(..count) {
            segment.delete(&self.dir)?;
        }
        Ok(())
    }

    /// Moves the log's start to `offset` (-1: the end) and deletes the segments before it. Returns the new start; `None` if
    /// the offset is outside the log.
    pub(crate) fn delete_before(&mut self, offset: i64) -> io::Result<Option<i64>> {
        let offset = if offset == -1 { self.end() } else { offset };
        if offset < 0 || offset > self.end() {
            return Ok(None);
        }
        if offset > self.log_start {
            let mut out = Writer::default();
            out.i64(offset);
            segment::write_whole(&self.dir.join(LOG_START), &out.0)?;
            self.log_start = offset;
        }
        let stable = self.last_stable();
        let gone = self
            .sealed
            .iter()
            .take_while(|s| s.next_offset <= offset && s.next_offset <= stable)
            .count();
        self.drop_oldest(gone)?;
        Ok(Some(self.log_start))
    }
}
