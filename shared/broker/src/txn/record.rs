//! The entries of the transactions' journal.

use super::state::{Phase, Transaction};
use crate::{
    codec::{Malformed, Reader, Writer},
    log::batch::Outcome,
};
use std::collections::BTreeSet;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Put {
        id: String,
        transaction: Transaction,
    },
    /// Producer ids below this may be in use.
    ProducerIds {
        below: i64,
    },
    Forget {
        id: String,
    },
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Put { id, transaction: t } => {
                out.u8(1)
                    .str(id)
                    .i64(t.producer_id)
                    .i16(t.epoch)
                    .i16(t.last_epoch)
                    .i64(t.last_producer_id);
                out.i32(t.timeout_ms)
                    .u8(phase(t.phase))
                    .i64(t.started_ms)
                    .i64(t.updated_ms)
                    .count(t.partitions.len());
                for (topic, partition) in &t.partitions {
                    out.str(topic).i32(*partition);
                }
                out.count(t.groups.len());
                for group in &t.groups {
                    out.str(group);
                }
            }
            Self::ProducerIds { below } => {
                out.u8(2).i64(*below);
            }
            Self::Forget { id } => {
                out.u8(3).str(id);
            }
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        Ok(match input.u8()? {
            1 => Self::Put {
                id: input.str()?,
                transaction: transaction(&mut input)?,
            },
            2 => Self::ProducerIds {
                below: input.i64()?,
            },
            3 => Self::Forget { id: input.str()? },
            _ => return Err(Malformed),
        })
    }
}

fn transaction(input: &mut Reader<'_>) -> Result<Transaction, Malformed> {
    let mut t = Transaction {
        producer_id: input.i64()?,
        epoch: input.i16()?,
        last_epoch: input.i16()?,
        last_producer_id: input.i64()?,
        timeout_ms: input.i32()?,
        phase: match input.u8()? {
            0 => Phase::Empty,
            1 => Phase::Ongoing,
            2 => Phase::Prepared(Outcome::Commit),
            3 => Phase::Prepared(Outcome::Abort),
            4 => Phase::Complete(Outcome::Commit),
            5 => Phase::Complete(Outcome::Abort),
            _ => return Err(Malformed),
        },
        started_ms: input.i64()?,
        updated_ms: input.i64()?,
        partitions: BTreeSet::new(),
        groups: BTreeSet::new(),
    };
    for _ in 0..input.count()? {
        t.partitions.insert((input.str()?, input.i32()?));
    }
    for _ in 0..input.count()? {
        t.groups.insert(input.str()?);
    }
    Ok(t)
}

fn phase(phase: Phase) -> u8 {
    match phase {
        Phase::Empty => 0,
        Phase::Ongoing => 1,
        Phase::Prepared(Outcome::Commit) => 2,
        Phase::Prepared(Outcome::Abort) => 3,
        Phase::Complete(Outcome::Commit) => 4,
        Phase::Complete(Outcome::Abort) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back() {
        let mut t = Transaction::new(9, 5);
        t.partitions.insert(("a".into(), 3));
        t.groups.insert("g".into());
        for p in [
            Phase::Empty,
            Phase::Ongoing,
            Phase::Prepared(Outcome::Commit),
            Phase::Complete(Outcome::Abort),
        ] {
            t.phase = p;
            let entry = Entry::Put {
                id: "x".into(),
                transaction: t.clone(),
            };
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
    }
}
