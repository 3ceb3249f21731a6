//! Records that client libraries can't write: names of headers may be any bytes.
//!
//! Format: <https://kafka.apache.org/41/implementation/message-format/>, version 2, one record, not compressed.

use crate::{Bootstrap, wire::leader};
use anyhow::{Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A record to write; names and values of its headers are bytes.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

impl Raw<'_> {
    /// Writes the record and returns its offset.
    ///
    /// # Errors
    /// The connection broke, or the broker refuses the record.
    pub fn produce(&self, bootstrap: &Bootstrap, topic: &str, partition: i32) -> Result<i64> {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(self.batch()?));
        let topics = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topics]);
        let answer = leader(bootstrap, topic, partition).call(&request, 9)?;
        let answer = &answer.responses[0].partition_responses[0];
        ensure!(answer.error_code == 0, "refused: {}", answer.error_code);
        Ok(answer.base_offset)
    }

    fn batch(&self) -> Result<Bytes> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let record = self.record();
        let mut checked = BytesMut::new();
        checked.put_i16(0); // attributes: no compression
        checked.put_i32(0); // last offset's distance from the first
        checked.put_i64(now); // first timestamp
        checked.put_i64(now); // last timestamp
        checked.put_i64(-1); // producer: none
        checked.put_i16(-1); // its epoch
        checked.put_i32(-1); // its sequence
        checked.put_i32(1); // records
        put_varint(&mut checked, record.len() as i64);
        checked.put(record);
        let mut batch = BytesMut::new();
        batch.put_i64(0); // first offset
        batch.put_i32(i32::try_from(checked.len() + 9)?); // bytes that follow
        batch.put_i32(-1); // leader epoch
        batch.put_i8(2); // version
        batch.put_u32(crc32c::crc32c(&checked));
        batch.put(checked);
        Ok(batch.freeze())
    }

    fn record(&self) -> BytesMut {
        let mut record = BytesMut::new();
        record.put_i8(0); // attributes
        put_varint(&mut record, 0); // time since the first timestamp
        put_varint(&mut record, 0); // distance from the first offset
        put_sized(&mut record, self.key);
        put_sized(&mut record, self.value);
        put_varint(&mut record, self.headers.len() as i64);
        for (name, value) in self.headers {
            put_sized(&mut record, name);
            put_sized(&mut record, value);
        }
        record
    }
}

fn put_sized(out: &mut BytesMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as i64);
    out.put(bytes);
}

/// Zigzag, then seven bits a byte, the least significant first.
fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
