//! Clients outside the loop (an administrator's command, a reader, a publisher), and what every client needs: logging,
//! calls that block, closing.

use crate::Error;
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext as _, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode as Code},
    metadata::Metadata,
};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

/// A client context that keeps the last error between the client and a broker, and logs it at debug level only.
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
    /// Whether only a changed setting can end it.
    fn stays(&self) -> bool {
        matches!(self.code, Code::Authentication | Code::SSL)
    }
}

impl Quiet {
    /// What went wrong last.
    fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers are down" would hide the reason, which librdkafka reports for each broker.
        let code = error.rdkafka_error_code();
        let Some(code) = code.filter(|code| *code != Code::AllBrokersDown) else {
            return;
        };
        tracing::debug!(%error, reason, "client");
        let reason = reason.to_owned();
        *self.trouble.lock() = Some(Trouble { code, reason });
    }
}

impl ConsumerContext for Quiet {}

/// A consumer. No broker is asked for anything yet.
pub(crate) fn connect(config: &ClientConfig) -> Result<BaseConsumer<Quiet>, Error> {
    BaseConsumer::from_config_and_context(config, Quiet::default()).map_err(Error::fatal("connect"))
}

/// Metadata of a topic, or of all topics. Must be called before the consumer is assigned partitions: it polls, and
/// would take their records.
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
        // The reason why a connection failed waits in the client's event queue, which only a poll serves.
        let listened = Instant::now();
        while listened.elapsed() < LISTEN {
            consumer.poll(LISTEN);
        }
        let over = Instant::now() >= deadline;
        let trouble = consumer.context().trouble();
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

/// How many partitions a topic has; none where there is no such topic. Blocks.
pub(crate) fn partition_count(
    consumer: &BaseConsumer<Quiet>,
    name: &str,
) -> Result<Option<usize>, Error> {
    let metadata = metadata(consumer, Some(name), Duration::from_secs(10))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let count = topic.filter(|topic| topic.error().is_none());
    Ok(count
        .map(|topic| topic.partitions().len())
        .filter(|&n| n > 0))
}

/// Runs a blocking call on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    body: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(body).await {
        Ok(result) => result,
        Err(_) => Err(Error::Transient {
            doing: "ask the brokers".to_owned(),
            source: KafkaError::Canceled,
        }),
    }
}

/// Drops a client on a thread of its own, and waits for it for five seconds: while the brokers are away, that may take
/// for ever.
pub(crate) fn dispose<T: Send + 'static>(what: &'static str, client: T) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let (gone, wait) = mpsc::sync_channel::<()>(1);
    let started = Instant::now();
    let spawned = std::thread::Builder::new()
        .name(format!("drop-{what}"))
        .spawn(move || {
            drop(client);
            gone.send(()).ok();
        });
    if spawned.is_ok() && wait.recv_timeout(PATIENCE).is_err() {
        tracing::warn!(what, waited = ?started.elapsed(), "closing takes long; going on without waiting");
    }
}

/// Writes a log line of librdkafka to our log.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}
