//! What a stage gets and what it gives back.

use crate::{Headers, clock::Clock, trace::TraceContext};
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Message as _};
use sightline_contracts::{Reason, Topic, headers};
use std::{future::Future, time::Duration};
use tracing::Span;

/// One step of the pipeline, from a record to an [`Outcome`].
pub trait Stage: Send + Sync + 'static {
    /// Called concurrently for many records, and again for the same one after a crash, a rebalance or a retry: effects
    /// outside Kafka must be idempotent. Runs outside any transaction. A panic or a future that does not end within
    /// `--attempt-timeout`, what it [waits](Record::waiting) left out, makes the record a dead letter with the reason
    /// [`Reason::Internal`].
    fn process(&self, record: Record) -> impl Future<Output = Outcome> + Send;
}

/// A record as read from the input topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// The topic's name without the prefix of the settings.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
    /// Milliseconds since the Unix epoch, as the record says.
    pub timestamp_ms: i64,
    /// How often it was tried, this time included.
    pub attempt: u32,
    /// The span that `process` runs in. It has an empty field `image_id`: fill it as soon as the id is known, by
    /// `record.span.record("image_id", tracing::field::display(id))`.
    pub span: Span,
    /// The W3C trace context of this hop: outputs carry its children.
    pub trace: TraceContext,
    /// Runs since the attempt began.
    pub(crate) clock: Clock,
}

impl Record {
    /// What a message says, save its value, which may be large.
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

    /// A record that was not read from Kafka, for tests of a stage.
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

    /// Waits for room, a permit, a place in a queue: time that does not count against `--attempt-timeout`, as the record
    /// is not to blame for it. The stage answers for it that the wait ends.
    pub async fn waiting<F: Future>(&self, wait: F) -> F::Output {
        self.clock.waiting(wait).await
    }

    /// The clock of this attempt, for a thread that waits on the stage's behalf.
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

/// How a record ended. There is no fourth way: one that is dropped unresolved is a failure.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Written, all or none, in the transaction that moves the offset over the record. May be empty.
    Done(Vec<Output>),
    /// It never can be processed: a dead letter, in the same transaction.
    Reject(Rejection),
    /// It could not be processed now. Tried again after a jittered backoff, or `after` where that is longer; once the
    /// budget is spent it becomes a dead letter with the reason [`Reason::Exhausted`].
    Retry {
        after: Option<Duration>,
        error: String,
    },
}

impl Outcome {
    pub fn reject(reason: Reason, error: impl Into<String>) -> Self {
        let error = error.into();
        Self::Reject(Rejection { reason, error })
    }

    pub fn retry(error: impl Into<String>) -> Self {
        let error = error.into();
        Self::Retry { after: None, error }
    }
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    /// In words, for an operator.
    pub error: String,
}

/// A record to write. `traceparent` and `tracestate` are added by the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The topic's name without the prefix of the settings.
    pub topic: String,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
    /// When the image entered the pipeline, in milliseconds since the Unix epoch: the last stage says so
    /// (`Times::notified_ms`), and the end-to-end latency is measured from it when the output is committed.
    pub notified_ms: Option<i64>,
}

impl Output {
    pub fn new(topic: Topic, key: Option<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.name().to_owned(),
            key,
            value: Some(value.into()),
            headers: Vec::new(),
            notified_ms: None,
        }
    }

    /// Has the end-to-end latency measured from this time on.
    pub fn notified_at(mut self, ms: i64) -> Self {
        self.notified_ms = Some(ms);
        self
    }

    pub(crate) fn size(&self) -> usize {
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        part(&self.key) + part(&self.value)
    }
}
