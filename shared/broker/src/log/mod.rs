//! The log of a partition: segments of record batches, and the state of their producers.

pub(crate) mod aborted;
pub(crate) mod batch;
pub(crate) mod compaction;
pub(crate) mod index;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod read;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod retention;
pub(crate) mod segment;

pub(crate) use partition::{AppendError, PartitionLog};

#[cfg(test)]
mod tests;
