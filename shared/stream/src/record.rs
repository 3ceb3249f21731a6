//! What a stage receives and what it returns.

use crate::{Headers, clock::Clock, trace::TraceContext};
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Message as _};
use sightline_contracts::{Reason, Topic, headers};
use std::{future::Future, time::Duration};
use tracing::Span;

/// One step of the pipeline, from a record to an [`Outcome`].
pub trait Stage: Send + Sync + 'static {
    /// Processes a record. It is called for many records concurrently, and again for the same record after a crash, a
    /// rebalance or a retry, so effects outside Kafka must be idempotent. It runs outside any transaction.
    ///
    /// A record whose call panics or takes longer than `--attempt-timeout` becomes a dead letter with the reason
    /// [`Reason::Internal`]. Time that the stage [waits](Record::waiting) does not count.
    fn process(&self, record: Record) -> impl Future<Output = Outcome> + Send;
}

/// A record as read from the input topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// The topic's name without the prefix of the settings.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The record's offset in the partition.
    pub offset: i64,
    /// The key; none where it is null.
    pub key: Option<Bytes>,
    /// The value; none where it is null. A large one shares memory with the response that it was fetched with.
    pub value: Option<Bytes>,
    /// The headers, those of the trace context and of earlier dead letters included.
    pub headers: Headers,
    /// The record's timestamp in milliseconds since the Unix epoch; 0 where it has none.
    pub timestamp_ms: i64,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The span that `process` runs in. It has an empty field `image_id`: fill it as soon as the id is known, by
    /// `record.span.record("image_id", tracing::field::display(id))`.
    pub span: Span,
    /// The W3C trace context of this stage's span, which the outputs carry.
    pub trace: TraceContext,
    /// How long the stage has worked on this attempt.
    pub(crate) clock: Clock,
}

impl Record {
    /// A record of a message, without the value: a large one is not copied.
    pub(crate) fn without_value(topic: &str, message: &BorrowedMessage<'_>) -> Self {
        let copied = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let all = message.headers().map(Headers::read).unwrap_or_default();
        let trace = TraceContext::from_headers(
            all.get(headers::TRACEPARENT).map(AsRef::as_ref),
            all.get(headers::TRACESTATE),
        );
        Self {
            topic: topic.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: copied(message.key()),
            value: None,
            headers: all,
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            attempt: 1,
            span: Span::none(),
            trace,
            clock: Clock::start(),
        }
    }

    /// A record that was not read from Kafka, for tests of a stage: partition 0, offset 0, the first attempt.
    pub fn new(topic: Topic, key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self {
            topic: topic.name().to_owned(),
            partition: 0,
            offset: 0,
            key,
            value,
            headers: Headers::default(),
            timestamp_ms: 0,
            attempt: 1,
            span: Span::none(),
            trace: TraceContext::root(),
            clock: Clock::start(),
        }
    }

    /// Waits for a resource that is shared with other records: a permit, or capacity in a queue. This time does not
    /// count against `--attempt-timeout`. The stage must make sure that the wait ends.
    pub async fn waiting<F: Future>(&self, wait: F) -> F::Output {
        self.clock.waiting(wait).await
    }

    /// The clock of this attempt, for a thread that waits for the stage.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Partition and offset.
    pub(crate) fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    /// The same record for another attempt, which begins now.
    pub(crate) fn again(&self) -> Self {
        let clock = Clock::start();
        Self {
            clock,
            ..self.clone()
        }
    }

    /// Bytes the record occupies while it is in flight: key, value and headers.
    pub fn size(&self) -> usize {
        let part = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + part(value))
            .sum();
        part(self.key.as_ref()) + part(self.value.as_ref()) + headers
    }
}

/// What became of a record. Each call of [`Stage::process`] must return one of these.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The record is processed. All outputs are written in the transaction that moves the offset past the record. There
    /// may be none.
    Done(Vec<Output>),
    /// The record can never be processed. A dead letter is written in the transaction that moves the offset.
    Reject(Rejection),
    /// The record could not be processed now. It is tried again after a jittered backoff. Once the attempts of
    /// `--retry-budget` are used up it becomes a dead letter with the reason [`Reason::Exhausted`].
    Retry {
        /// The least pause before the next attempt, up to ten minutes; none where the backoff alone decides.
        after: Option<Duration>,
        /// The error as text for an operator.
        error: String,
    },
}

impl Outcome {
    /// A [`Reject`](Self::Reject) of this reason; `error` is text for an operator.
    pub fn reject(reason: Reason, error: impl Into<String>) -> Self {
        let error = error.into();
        Self::Reject(Rejection { reason, error })
    }

    /// A [`Retry`](Self::Retry) after the usual backoff; `error` is text for an operator.
    pub fn retry(error: impl Into<String>) -> Self {
        let error = error.into();
        Self::Retry { after: None, error }
    }
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason's name, which is a header of the dead letter and a metric's label.
    pub reason: Reason,
    /// The error as text for an operator.
    pub error: String,
}

/// A record to write. `traceparent` and `tracestate` are added by the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The topic's name without the prefix of the settings.
    pub topic: String,
    /// The key, whose hash chooses the partition.
    pub key: Option<Bytes>,
    /// The value, which may be null.
    pub value: Option<Bytes>,
    /// Further headers, in their order.
    pub headers: Vec<(String, Bytes)>,
    /// When the image's notification was published, in milliseconds since the Unix epoch (`Times::notified_ms`). Where
    /// it is set, the end-to-end latency from then until the commit of this output is measured.
    pub notified_ms: Option<i64>,
}

impl Output {
    /// An output without further headers, whose end-to-end latency is not measured.
    pub fn new(topic: Topic, key: Option<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.name().to_owned(),
            key,
            value: Some(value.into()),
            headers: Vec::new(),
            notified_ms: None,
        }
    }

    /// The same output with [`notified_ms`](Self::notified_ms) set.
    pub fn notified_at(mut self, ms: i64) -> Self {
        self.notified_ms = Some(ms);
        self
    }

    pub(crate) fn size(&self) -> usize {
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        part(&self.key) + part(&self.value)
    }
}
