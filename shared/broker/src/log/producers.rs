//! The producers of a partition: epochs, last sequence numbers, open transactions.
//!
//! The rules are Kafka's (`ProducerAppendInfo`, `ProducerStateManager`): the last five batches of a producer are
//! recognised when sent again, an older epoch is fenced, a gap in the sequence is refused, and the first offset of the
//! oldest open transaction is the last stable offset.

use super::batch::Header;
use crate::codec::{Malformed, Reader, Writer};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Batches of a producer that are recognised when sent again.
const REMEMBERED: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    timestamp: i64,
}

/// One producer id in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    sent: VecDeque<Sent>,
    pub last_timestamp: i64,
    pub transaction_start: Option<i64>,
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// First offset of each open transaction, with its producer.
    open: BTreeMap<i64, i64>,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// A duplicate, stored at this offset: acknowledge it again.
    Duplicate {
        base_offset: i64,
        timestamp: i64,
    },
}

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Epoch,
    Sequence,
    /// Not transactional while the producer's transaction is open.
    NotTransactional,
}

impl Producers {
    /// Checks a data batch without changing state.
    pub(crate) fn check(&self, batch: &Header) -> Result<Verdict, Refused> {
        let Some(known) = self
            .by_id
            .get(&batch.producer_id)
            .filter(|_| batch.producer_id >= 0)
        else {
            return Ok(Verdict::Append);
        };
        if batch.producer_epoch < known.epoch {
            return Err(Refused::Epoch);
        }
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        if batch.producer_epoch == known.epoch {
            let again = known
                .sent
                .iter()
                .find(|s| s.first_sequence == first && s.last_sequence == last);
            if let Some(sent) = again {
                return Ok(Verdict::Duplicate {
                    base_offset: sent.base_offset,
                    timestamp: sent.timestamp,
                });
            }
        }
        let expected = match known.sent.back() {
            Some(sent) if batch.producer_epoch == known.epoch => {
                sent.last_sequence.checked_add(1).unwrap_or(0)
            }
            _ => 0,
        };
        if first != expected {
            return Err(Refused::Sequence);
        }
        if known.transaction_start.is_some() && !batch.is_transactional() {
            return Err(Refused::NotTransactional);
        }
        Ok(Verdict::Append)
    }

    /// Updates the state after a data batch is stored.
    pub(crate) fn record(&mut self, batch: &Header) {
        if batch.producer_id < 0 {
            return;
        }
        let producer = self
            .by_id
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                sent: VecDeque::new(),
                last_timestamp: batch.max_timestamp,
                transaction_start: None,
            });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.sent.clear();
        }
        if producer.sent.len() == REMEMBERED {
            producer.sent.pop_front();
        }
        producer.sent.push_back(Sent {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
            timestamp: batch.max_timestamp,
        });
        producer.last_timestamp = batch.max_timestamp;
        if batch.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(batch.base_offset);
            self.open.insert(batch.base_offset, batch.producer_id);
        }
    }

    /// Updates the state after an end-of-transaction marker is stored.
    pub(crate) fn end(&mut self, marker: &Header) {
        let producer = self
            .by_id
            .entry(marker.producer_id)
            .or_insert_with(|| Producer {
                epoch: marker.producer_epoch,
                sent: VecDeque::new(),
                last_timestamp: marker.max_timestamp,
                transaction_start: None,
            });
        if producer.epoch < marker.producer_epoch {
            producer.epoch = marker.producer_epoch;
            producer.sent.clear();
        }
        producer.last_timestamp = marker.max_timestamp;
        if let Some(first_offset) = producer.transaction_start.take() {
            self.open.remove(&first_offset);
        }
    }

    /// The first offset of the oldest open transaction.
    pub(crate) fn first_unstable(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// The first offset of the producer's open transaction, and the last stable offset after it ends; `None` stands for the
    /// log's end.
    pub(crate) fn open_transaction(&self, producer_id: i64) -> Option<(i64, Option<i64>)> {
        let first = self.by_id.get(&producer_id)?.transaction_start?;
        let next = self.open.keys().find(|&&start| start != first);
        Some((first, next.copied()))
    }

    pub(crate) fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.by_id.get(&producer_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(&id, producer)| (id, producer))
    }

    /// Forgets producers without an open transaction that were last heard of before `before_ms`.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id
            .retain(|_, p| p.transaction_start.is_some() || p.last_timestamp >= before_ms);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.count(self.by_id.len());
        for (&id, producer) in &self.by_id {
            out.i64(id)
                .i16(producer.epoch)
                .i64(producer.last_timestamp)
                .i64(producer.transaction_start.unwrap_or(-1));
            out.count(producer.sent.len());
            for sent in &producer.sent {
                out.i32(sent.first_sequence)
                    .i32(sent.last_sequence)
                    .i64(sent.base_offset)
                    .i64(sent.timestamp);
            }
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let mut out = Self::default();
        for _ in 0..input.count()? {
            let (id, epoch, last_timestamp, start) =
                (input.i64()?, input.i16()?, input.i64()?, input.i64()?);
            let mut sent = VecDeque::new();
            for _ in 0..input.count()? {
                sent.push_back(Sent {
                    first_sequence: input.i32()?,
                    last_sequence: input.i32()?,
                    base_offset: input.i64()?,
                    timestamp: input.i64()?,
                });
            }
            let transaction_start = (start >= 0).then_some(start);
            if let Some(start) = transaction_start {
                out.open.insert(start, id);
            }
            out.by_id.insert(
                id,
                Producer {
                    epoch,
                    sent,
                    last_timestamp,
                    transaction_start,
                },
            );
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::{Outcome, marker, tests::batch};

    fn header(
        producer: (i64, i16, i32),
        base_offset: i64,
        count: usize,
        transactional: bool,
    ) -> Header {
        let records = vec![(None, None); count];
        let mut header = Header::parse(&batch(producer, transactional, 0, &records)).unwrap();
        header.base_offset = base_offset;
        header
    }

    #[test]
    fn the_last_five_batches_are_acknowledged_again_and_gaps_refused() {
        let mut producers = Producers::default();
        for i in 0..7 {
            let batch = header((1, 0, i * 2), i64::from(i) * 2, 2, false);
            assert_eq!(producers.check(&batch), Ok(Verdict::Append));
            producers.record(&batch);
        }
        let again = header((1, 0, 6), 0, 2, false);
        assert_eq!(
            producers.check(&again),
            Ok(Verdict::Duplicate {
                base_offset: 6,
                timestamp: 0
            })
        );
        assert_eq!(
            producers.check(&header((1, 0, 2), 0, 2, false)),
            Err(Refused::Sequence)
        );
        assert_eq!(
            producers.check(&header((1, 0, 15), 0, 1, false)),
            Err(Refused::Sequence)
        );
        assert_eq!(
            producers.check(&header((1, 1, 3), 0, 1, false)),
            Err(Refused::Sequence)
        );
        assert_eq!(
            producers.check(&header((1, 1, 0), 0, 1, false)),
            Ok(Verdict::Append)
        );
        assert_eq!(
            producers.check(&header((2, 0, 9), 0, 1, false)),
            Ok(Verdict::Append),
            "an unknown producer may start anywhere"
        );
    }

    #[test]
    fn a_marker_of_a_higher_epoch_fences_and_frees_the_stable_offset() {
        let mut producers = Producers::default();
        producers.record(&header((1, 0, 0), 10, 1, true));
        producers.record(&header((2, 0, 0), 11, 1, true));
        assert_eq!(producers.first_unstable(), Some(10));
        assert_eq!(
            producers.check(&header((1, 0, 1), 0, 1, false)),
            Err(Refused::NotTransactional)
        );
        let end = Header::parse(&marker(12, 1, 1, Outcome::Abort, 0)).unwrap();
        assert_eq!(producers.open_transaction(1), Some((10, Some(11))));
        producers.end(&end);
        assert_eq!(producers.open_transaction(1), None);
        assert_eq!(producers.first_unstable(), Some(11));
        assert_eq!(
            producers.check(&header((1, 0, 1), 0, 1, true)),
            Err(Refused::Epoch)
        );
        assert_eq!(Producers::decode(&producers.encode()).unwrap(), producers);
    }
}
