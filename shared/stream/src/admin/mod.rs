//! What an operator does: create and delete topics, read a group's lag, read dead letters.

mod dead_letters;
mod lag;
mod topics;

pub use dead_letters::{DeadLetter, dead_letters};
pub use lag::{PartitionLag, lag};
pub use topics::{TopicSpec, create_topics, delete_topics};
