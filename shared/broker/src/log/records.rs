//! The records of an uncompressed batch: read for look-up by time, compaction and validation only.

/// One record, its fields as slices of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The complete record, length prefix included.
    pub bytes: &'a [u8],
    pub offset_delta: i64,
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    /// Whether the value is null: a tombstone in a compacted topic.
    pub is_tombstone: bool,
}

/// The bytes are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed record")]
pub(crate) struct Malformed;

/// Iterates over the records after a batch header.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn read(&mut self) -> Result<Record<'a>, Malformed> {
        let start = self.rest;
        let mut cursor = start;
        let length = usize::try_from(varint(&mut cursor)?).map_err(|_| Malformed)?;
        let prefix = start.len() - cursor.len();
        let body = cursor.get(..length).ok_or(Malformed)?;
        self.rest = &cursor[length..];
        let mut body = body.get(1..).ok_or(Malformed)?;
        let timestamp_delta = varint(&mut body)?;
        let offset_delta = varint(&mut body)?;
        let key = nullable(&mut body)?;
        let value = nullable(&mut body)?;
        Ok(Record {
            bytes: &start[..prefix + length],
            offset_delta,
            timestamp_delta,
            key,
            is_tombstone: value.is_none(),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| {
            let record = self.read();
            if record.is_err() {
                self.rest = &[];
            }
            record
        })
    }
}

fn nullable<'a>(cursor: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let length = varint(cursor)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let bytes = cursor.get(..length).ok_or(Malformed)?;
    *cursor = &cursor[length..];
    Ok(Some(bytes))
}

/// A zigzag varint of at most 64 bits.
fn varint(cursor: &mut &[u8]) -> Result<i64, Malformed> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = cursor.split_first().ok_or(Malformed)?;
        *cursor = rest;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
        }
    }
    Err(Malformed)
}

#[cfg(test)]
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push((raw & 0x7f) as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Appends one record without headers.
#[cfg(test)]
pub fn write(
    out: &mut Vec<u8>,
    offset_delta: i64,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let mut body = vec![0];
    put_varint(&mut body, timestamp_delta);
    put_varint(&mut body, offset_delta);
    for field in [key, value] {
        match field {
            Some(bytes) => {
                put_varint(&mut body, i64::try_from(bytes.len()).unwrap());
                body.extend_from_slice(bytes);
            }
            None => put_varint(&mut body, -1),
        }
    }
    put_varint(&mut body, 0);
    put_varint(out, i64::try_from(body.len()).unwrap());
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(records in proptest::collection::vec((any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>(), any::<i32>()), 0..20)) {
            let mut bytes = Vec::new();
            for (i, (key, value, time)) in records.iter().enumerate() {
                write(&mut bytes, i as i64, i64::from(*time), key.as_deref(), value.as_deref());
            }
            let read: Vec<_> = Records::new(&bytes).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), records.len());
            for (i, (record, (key, value, time))) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(record.key, key.as_deref());
                prop_assert_eq!(record.is_tombstone, value.is_none());
                prop_assert_eq!(record.offset_delta, i as i64);
                prop_assert_eq!(record.timestamp_delta, i64::from(*time));
            }
        }

        #[test]
        fn arbitrary_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for record in Records::new(&bytes) {
                let _ = record;
            }
        }
    }
}
