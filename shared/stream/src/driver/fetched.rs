//! A message as librdkafka holds it.

use super::consumer::Context;
use bytes::Bytes;
use rdkafka::{
    Message as _, consumer::base_consumer::PartitionQueue, error::KafkaError,
    message::BorrowedMessage,
};
use self_cell::self_cell;
use std::{sync::Arc, time::Duration};

/// Bytes from which on a value stays where it is. It keeps all that was fetched with it in memory, so small ones, of
/// which many come in one fetch, are copied.
const LARGE: usize = 32 << 10;

self_cell!(
    /// A message, and the queue it came by, which the message must not outlive.
    pub(crate) struct Fetched {
        owner: Arc<PartitionQueue<Context>>,
        #[covariant]
        dependent: BorrowedMessage,
    }
);

impl Fetched {
    /// The queue's next message, if it has one; an error of the partition's otherwise.
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
