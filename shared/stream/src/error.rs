//! What can go wrong, by what the caller can do about it.

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
    Fenced { service: String, instance: String },
    /// The input topic is not there, or may not be read: create it (`sightline topics create`) or grant access.
    #[error("topic {topic}: {problem}")]
    Topic { topic: String, problem: String },
    /// No broker can be reached, or none lets this client in: mend the bootstrap address or the security settings.
    #[error("can't reach Kafka: {reason}")]
    Unreachable { reason: String },
    /// Kafka did not answer in time, or not now: try again.
    #[error("kafka, while trying to {doing}")]
    Transient {
        doing: String,
        #[source]
        source: KafkaError,
    },
    /// Kafka refuses for good, or the client library gave up: stop.
    #[error("kafka, while trying to {doing}")]
    Fatal {
        doing: String,
        #[source]
        source: KafkaError,
    },
    /// The client library handed out a record past its partition's queue, where others may have overtaken it: stop
    /// before an offset is committed that leaves it out.
    #[error("offset {offset} of {topic}, partition {partition}, came out of its turn")]
    Astray {
        topic: String,
        partition: i32,
        offset: i64,
    },
    /// A thread of the loop ended in a way it should not have.
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

/// An error and what caused it on one line, as an outcome's text.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
