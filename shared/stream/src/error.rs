//! The errors of this crate, told apart by what the caller can do about them.

use rdkafka::error::KafkaError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings can't work: mend them and start again.
    #[error("{0}")]
    Settings(String),
    /// Another live process runs under the same service and instance name and took over: stop, and give this one a
    /// name of its own.
    #[error(
        "another process runs as instance {instance:?} of {service} and has taken over its partitions; \
         give each instance a name of its own (--instance or SIGHTLINE_INSTANCE)"
    )]
    Fenced {
        /// The service's name.
        service: String,
        /// The name that both processes run under.
        instance: String,
    },
    /// The input topic is not there, or may not be read: create it (`sightline topics create`) or grant access.
    #[error("topic {topic}: {problem}")]
    Topic {
        /// The topic's full name.
        topic: String,
        /// What is wrong, in words.
        problem: String,
    },
    /// No broker can be reached, or none lets this client in: mend the bootstrap address or the security settings.
    #[error("can't reach Kafka: {reason}")]
    Unreachable {
        /// What the client library says of the last broker.
        reason: String,
    },
    /// Kafka did not answer in time, or not now: try again.
    #[error("kafka, while trying to {doing}")]
    Transient {
        /// What was tried, in words.
        doing: String,
        /// The client library's error.
        #[source]
        source: KafkaError,
    },
    /// Kafka refuses for good, or the client library gave up: stop.
    #[error("kafka, while trying to {doing}")]
    Fatal {
        /// What was tried, in words.
        doing: String,
        /// The client library's error.
        #[source]
        source: KafkaError,
    },
    /// The client library delivered a record through the consumer's main queue and not through its partition's queue.
    /// Later records of the partition may have been taken already, and a commit of theirs would skip this one: stop.
    #[error("offset {offset} of {topic}, partition {partition}, came out of its turn")]
    Astray {
        /// The topic's full name.
        topic: String,
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// A thread of the loop panicked or could not be started.
    #[error("the {0} thread ended unexpectedly")]
    Thread(&'static str),
}

impl Error {
    pub(crate) fn transient(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let doing = doing.into();
        move |source| Self::Transient { doing, source }
    }

    pub(crate) fn fatal(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let doing = doing.into();
        move |source| Self::Fatal { doing, source }
    }
}

/// An error and its causes on one line, separated by colons: the text of an [`Outcome`](crate::Outcome).
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
