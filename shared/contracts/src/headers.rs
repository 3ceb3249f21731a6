//! Names of the record headers. `traceparent` and `tracestate` are W3C Trace Context's; the rest describe a dead letter
//! and begin with `sightline-`.

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
/// The topic that the record was read from, without the prefix of the settings.
pub const SOURCE_TOPIC: &str = "sightline-source-topic";
/// The partition that the record was read from, a decimal number from 0.
pub const SOURCE_PARTITION: &str = "sightline-source-partition";
/// The offset that the record was read from, a decimal number.
pub const SOURCE_OFFSET: &str = "sightline-source-offset";
/// The error as text for an operator, at most 4096 bytes and an ellipsis.
pub const ERROR: &str = "sightline-error";
/// Set on a record that `sightline dead-letters replay` put back: the dead letter's `partition/offset`.
pub const REPLAYED_FROM: &str = "sightline-replayed-from";
/// Set where the dead letter lacks the original's value, because the topic of dead letters refused it for its size: the
/// value's length in bytes. The original is still where it was read from, as long as its topic keeps it.
pub const VALUE_DROPPED: &str = "sightline-value-dropped";
/// Set where the dead letter lacks the original's key for the same reason: the key's length in bytes.
pub const KEY_DROPPED: &str = "sightline-key-dropped";
/// Set where the dead letter lacks headers of the original: how many. Their names are not UTF-8, or the topic of dead
/// letters refused them for their size.
pub const HEADERS_DROPPED: &str = "sightline-headers-dropped";

/// Whether a header of this name describes a dead letter. Such headers are written anew for each dead letter, and are
/// not part of the original record.
pub fn describes_dead_letter(name: &str) -> bool {
    name.starts_with("sightline-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_trace_context_describes_a_dead_letter() {
        for name in [
            STAGE,
            REASON,
            ATTEMPTS,
            SOURCE_TOPIC,
            SOURCE_PARTITION,
            SOURCE_OFFSET,
            ERROR,
            REPLAYED_FROM,
            VALUE_DROPPED,
            KEY_DROPPED,
            HEADERS_DROPPED,
        ] {
            assert!(describes_dead_letter(name), "{name}");
        }
        for name in [TRACEPARENT, TRACESTATE, "content-type"] {
            assert!(!describes_dead_letter(name), "{name}");
        }
    }
}
