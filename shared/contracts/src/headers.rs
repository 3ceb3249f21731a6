//! Names of the record headers. `traceparent` and `tracestate` are W3C Trace Context's; the rest describe a dead letter.

/// W3C trace context of the record; only the stream crate reads and writes it.
pub const TRACEPARENT: &str = "traceparent";
/// W3C vendor state, passed through untouched.
pub const TRACESTATE: &str = "tracestate";
/// The service that gave up on the record.
pub const STAGE: &str = "sightline-stage";
/// A [`Reason`](crate::Reason), in its kebab-case form.
pub const REASON: &str = "sightline-reason";
/// How often the record was tried, a decimal number from 1.
pub const ATTEMPTS: &str = "sightline-attempts";
/// Topic, partition and offset the record was read from.
pub const SOURCE_TOPIC: &str = "sightline-source-topic";
pub const SOURCE_PARTITION: &str = "sightline-source-partition";
pub const SOURCE_OFFSET: &str = "sightline-source-offset";
/// The error in words, for an operator.
pub const ERROR: &str = "sightline-error";
/// Set on a record that `sightline dead-letters replay` put back: the dead letter's `partition/offset`.
pub const REPLAYED_FROM: &str = "sightline-replayed-from";
/// Set where the value, or the key too, was more than the topic of dead letters takes: the bytes it had. The original
/// stands where it was read from.
pub const VALUE_DROPPED: &str = "sightline-value-dropped";
pub const KEY_DROPPED: &str = "sightline-key-dropped";
/// How many headers of the original are not here: their names are not UTF-8, or they were more than the topic takes.
pub const HEADERS_DROPPED: &str = "sightline-headers-dropped";
