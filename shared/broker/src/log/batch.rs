//! The header of a record batch (message format 2), and the control batches that end a transaction.
//!
//! Batches are opaque: only the base offset and the leader epoch of a producer's bytes are rewritten, which the checksum
//! does not cover (<https://kafka.apache.org/documentation/#recordbatch>).

use bytes::Bytes;

/// Bytes before the first record.
pub(crate) const HEADER: usize = 61;
/// Bytes that `batch_length` does not count.
pub(crate) const PREFIX: usize = 12;
/// The part that an append rewrites: base offset, length, leader epoch.
pub(crate) const REWRITTEN: usize = 16;
/// The only leader epoch.
pub(crate) const LEADER_EPOCH: i32 = 0;

const CRC_FROM: usize = 21;
const TIMESTAMP_TYPE: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The header fields the broker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub base_offset: i64,
    /// Total size in bytes, header included.
    pub size: usize,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records: i32,
}

/// Why bytes are not one complete batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("fewer bytes than a batch header")]
    Short,
    #[error("message format {0}, only 2 is served")]
    Magic(i8),
    #[error("length field does not match the bytes given")]
    Length,
    #[error("checksum does not match")]
    Checksum,
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl Header {
    /// Reads a header; `None` if there are too few bytes or the length field is impossible.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER {
            return None;
        }
        let length = i32::from_be_bytes(take(bytes, 8));
        let size = usize::try_from(length).ok()?.checked_add(PREFIX)?;
        (size >= HEADER).then(|| Self {
            base_offset: i64::from_be_bytes(take(bytes, 0)),
            size,
            magic: i8::from_be_bytes(take(bytes, 16)),
            crc: u32::from_be_bytes(take(bytes, 17)),
            attributes: i16::from_be_bytes(take(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(take(bytes, 23)),
            base_timestamp: i64::from_be_bytes(take(bytes, 27)),
            max_timestamp: i64::from_be_bytes(take(bytes, 35)),
            producer_id: i64::from_be_bytes(take(bytes, 43)),
            producer_epoch: i16::from_be_bytes(take(bytes, 51)),
            base_sequence: i32::from_be_bytes(take(bytes, 53)),
            records: i32::from_be_bytes(take(bytes, 57)),
        })
    }

    /// Reads and checks exactly one complete batch.
    pub(crate) fn validate(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() < HEADER {
            return Err(Invalid::Short);
        }
        let magic = i8::from_be_bytes(take(bytes, 16));
        if magic != 2 {
            return Err(Invalid::Magic(magic));
        }
        let header = Self::parse(bytes).ok_or(Invalid::Length)?;
        if header.size != bytes.len() {
            return Err(Invalid::Length);
        }
        if crc32c::crc32c(&bytes[CRC_FROM..]) != header.crc {
            return Err(Invalid::Checksum);
        }
        Ok(header)
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & 0b111 != 0
    }

    /// Whether the broker's time applies to every record.
    pub(crate) fn is_stamped(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE != 0
    }

    /// The sequence number of the last record; wraps to 0 after `i32::MAX`.
    pub(crate) fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let wrapped = if last > i64::from(i32::MAX) {
            last - (i64::from(i32::MAX) + 1)
        } else {
            last
        };
        i32::try_from(wrapped).unwrap_or(-1)
    }
}

/// The first [`REWRITTEN`] bytes as they are stored.
pub(crate) fn prefix(base_offset: i64, size: usize) -> [u8; REWRITTEN] {
    let mut out = [0; REWRITTEN];
    out[..8].copy_from_slice(&base_offset.to_be_bytes());
    let length = i32::try_from(size - PREFIX).unwrap_or(i32::MAX);
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[12..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
    out
}

/// A copy of the batch stamped with the broker's time (`message.timestamp.type=LogAppendTime`), checksum renewed.
pub(crate) fn stamped(batch: &[u8], now_ms: i64) -> Bytes {
    let mut out = batch.to_vec();
    let attributes = i16::from_be_bytes(take(&out, 21)) | TIMESTAMP_TYPE;
    out[21..23].copy_from_slice(&attributes.to_be_bytes());
    out[35..43].copy_from_slice(&now_ms.to_be_bytes());
    seal(&mut out);
    out.into()
}

/// Writes the checksum of a batch whose other fields are final.
pub(crate) fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Commit,
    Abort,
}

/// The control batch that ends a transaction in a partition (`EndTransactionMarker`, version 0).
pub(crate) fn marker(
    base_offset: i64,
    producer_id: i64,
    epoch: i16,
    outcome: Outcome,
    now_ms: i64,
) -> Vec<u8> {
    let kind = match outcome {
        Outcome::Abort => 0u8,
        Outcome::Commit => 1,
    };
    // Lengths are zigzag varints: 16-byte record, 4-byte key {version 0, type}, 6-byte value {version 0, coordinator epoch 0}.
    let record = [
        0x20, 0, 0, 0, 0x08, 0, 0, 0, kind, 0x0c, 0, 0, 0, 0, 0, 0, 0,
    ];
    let size = HEADER + record.len();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&prefix(base_offset, size));
    out.push(2);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(TRANSACTIONAL | CONTROL).to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&now_ms.to_be_bytes());
    out.extend_from_slice(&now_ms.to_be_bytes());
    out.extend_from_slice(&producer_id.to_be_bytes());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&record);
    seal(&mut out);
    out
}

/// How a control batch ends its transaction; `None` if it does not end one.
pub(crate) fn marker_outcome(batch: &[u8]) -> Option<Outcome> {
    let record = super::records::Records::new(batch.get(HEADER..)?)
        .next()?
        .ok()?;
    let key = record.key?;
    match key.get(2..4)? {
        [0, 0] => Some(Outcome::Abort),
        [0, 1] => Some(Outcome::Commit),
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    type Field<'a> = Option<&'a [u8]>;

    /// One uncompressed batch of the given records.
    pub fn batch(
        producer: (i64, i16, i32),
        transactional: bool,
        timestamp: i64,
        records: &[(Field<'_>, Field<'_>)],
    ) -> Vec<u8> {
        let mut body = Vec::new();
        for (i, (key, value)) in records.iter().enumerate() {
            let i = i64::try_from(i).unwrap();
            super::super::records::write(&mut body, i, 0, *key, *value);
        }
        let size = HEADER + body.len();
        let mut out = Vec::new();
        out.extend_from_slice(&prefix(0, size));
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(if transactional { TRANSACTIONAL } else { 0 }).to_be_bytes());
        let count = i32::try_from(records.len()).unwrap();
        out.extend_from_slice(&(count - 1).to_be_bytes());
        out.extend_from_slice(&timestamp.to_be_bytes());
        out.extend_from_slice(&timestamp.to_be_bytes());
        out.extend_from_slice(&producer.0.to_be_bytes());
        out.extend_from_slice(&producer.1.to_be_bytes());
        out.extend_from_slice(&producer.2.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&body);
        seal(&mut out);
        out
    }

    #[test]
    fn a_marker_reads_back_as_kafka_encodes_it() {
        for outcome in [Outcome::Commit, Outcome::Abort] {
            let bytes = marker(42, 7, 3, outcome, 1000);
            assert_eq!(bytes.len(), 78);
            let header = Header::validate(&bytes).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!(
                (
                    header.base_offset,
                    header.producer_id,
                    header.producer_epoch
                ),
                (42, 7, 3)
            );
            assert_eq!(marker_outcome(&bytes), Some(outcome));
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut header = Header::parse(&marker(0, 1, 0, Outcome::Commit, 0)).unwrap();
        header.base_sequence = i32::MAX - 1;
        header.last_offset_delta = 3;
        assert_eq!(header.last_sequence(), 1);
    }

    #[test]
    fn a_flipped_bit_is_a_wrong_checksum() {
        let mut bytes = batch((-1, -1, -1), false, 5, &[(None, Some(b"x"))]);
        assert!(Header::validate(&bytes).is_ok());
        bytes[40] ^= 1;
        assert_eq!(Header::validate(&bytes), Err(Invalid::Checksum));
    }

    #[test]
    fn stamping_keeps_the_checksum_right() {
        let bytes = stamped(&batch((-1, -1, -1), false, 5, &[(None, None)]), 99);
        assert_eq!(Header::validate(&bytes).unwrap().max_timestamp, 99);
    }
}
