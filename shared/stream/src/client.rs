//! The client of whoever asks and does not stay: an operator's command, a reader, a publisher.

use crate::Error;
use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext as _, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode as Code},
    metadata::Metadata,
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A client context that logs, and keeps what went wrong last between the client and a broker.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug, Clone)]
struct Trouble {
    code: Code,
    reason: String,
}

impl Trouble {
    /// Whether it stays as it is until a setting is changed.
    fn stays(&self) -> bool {
        matches!(self.code, Code::Authentication | Code::SSL)
    }
}

impl Quiet {
    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::driver::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down follows from what is said of each.
        let code = error.rdkafka_error_code();
        let Some(code) = code.filter(|code| *code != Code::AllBrokersDown) else {
            return;
        };
        tracing::debug!(%error, reason, "client");
        let reason = reason.to_owned();
        *self.trouble() = Some(Trouble { code, reason });
    }
}

impl ConsumerContext for Quiet {}

/// A consumer of this context; no broker is asked for anything yet.
pub(crate) fn connect(config: &ClientConfig) -> Result<BaseConsumer<Quiet>, Error> {
    BaseConsumer::from_config_and_context(config, Quiet::default()).map_err(Error::fatal("connect"))
}

/// What the brokers know of a topic, or of all. Must come before the consumer is assigned anything, whose records it
/// would take.
///
/// # Errors
/// [`Error::Unreachable`] with the reason where no broker answers for `longest`, or one turns the client away.
pub(crate) fn metadata(
    consumer: &BaseConsumer<Quiet>,
    topic: Option<&str>,
    longest: Duration,
) -> Result<Metadata, Error> {
    const ATTEMPT: Duration = Duration::from_secs(2);
    const LISTEN: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + longest;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let source = match consumer.fetch_metadata(topic, left.min(ATTEMPT)) {
            Ok(metadata) => return Ok(metadata),
            Err(source) => source,
        };
        // Why a connection failed waits in the client's queue, which a fetch of metadata does not serve.
        let listened = Instant::now();
        while listened.elapsed() < LISTEN {
            consumer.poll(LISTEN);
        }
        let over = Instant::now() >= deadline;
        let trouble = consumer.context().trouble().clone();
        match trouble {
            Some(trouble) if over || trouble.stays() => {
                let reason = trouble.reason;
                return Err(Error::Unreachable { reason });
            }
            None if over => return Err(Error::transient("fetch metadata")(source)),
            _ => {}
        }
    }
}
