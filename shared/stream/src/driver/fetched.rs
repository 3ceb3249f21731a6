//! A message in librdkafka's memory.

use super::consumer::Context;
use bytes::Bytes;
use rdkafka::{
    Message as _, consumer::base_consumer::PartitionQueue, error::KafkaError,
    message::BorrowedMessage,
};
use self_cell::self_cell;
use std::{sync::Arc, time::Duration};

/// The least length of a value that is not copied. A value that is not copied keeps the whole fetch response in memory,
/// so small values, of which one response has many, are copied.
const LARGE: usize = 32 << 10;

self_cell!(
    /// A message and its queue, which must outlive the message.
    pub(crate) struct Fetched {
        owner: Arc<PartitionQueue<Context>>,
        #[covariant]
        dependent: BorrowedMessage,
    }
);

impl Fetched {
    /// The queue's next message or error; none where the queue is empty.
    pub fn from(queue: &Arc<PartitionQueue<Context>>) -> Option<Result<Self, KafkaError>> {
        let polled = Self::try_new(queue.clone(), |queue| match queue.poll(Duration::ZERO) {
            Some(polled) => polled.map_err(Some),
            None => Err(None),
        });
        match polled {
            Ok(fetched) => Some(Ok(fetched)),
            Err(error) => error.map(Err),
        }
    }

    pub fn message(&self) -> &BorrowedMessage<'_> {
        self.borrow_dependent()
    }

    /// The value, without a copy where it is large.
    pub fn into_value(self) -> Option<Bytes> {
        let value = self.message().payload()?;
        Some(match value.len() {
            LARGE.. => Bytes::from_owner(Value(self)),
            _ => Bytes::copy_from_slice(value),
        })
    }
}

struct Value(Fetched);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.0.message().payload().unwrap_or_default()
    }
}
