//! What is stored of a partition: segments of record batches, and what is known of their producers.

pub mod aborted;
pub mod batch;
pub mod compaction;
pub mod index;
pub mod partition;
pub mod producers;
pub mod read;
pub mod records;
pub mod recovery;
pub mod retention;
pub mod segment;

pub use partition::{AppendError, PartitionLog};

#[cfg(test)]
mod tests;
