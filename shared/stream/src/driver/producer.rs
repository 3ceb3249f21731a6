//! A transactional producer, which runs one transaction at a time.

use super::writing::{Resolved, Writing};
use crate::{Error, client, machine::Batch};
use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext},
    util::Timeout,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Why a transaction failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: KafkaError,
    /// The index in the batch of the record whose output the broker refuses for its size, where that is the cause.
    pub too_large: Option<usize>,
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        Self {
            error,
            too_large: None,
        }
    }
}

impl Failure {
    /// Whether another process has taken over this producer's transactional id, or the broker has aborted the
    /// transaction for its age. The two give the same error.
    ///
    /// FENCED_INSTANCE_ID means neither. A consumer that was frozen for longer than its session rejoins under its own
    /// instance name, which fences the group metadata that it read before. A clone takes over the producers first, and
    /// joins the group afterwards.
    pub fn fenced(&self) -> bool {
        matches!(
            self.error.rdkafka_error_code(),
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
        )
    }
}

/// The delivery reports of the running transaction.
#[derive(Debug, Default)]
struct Deliveries {
    open: usize,
    failed: Option<(usize, Code)>,
}

#[derive(Default)]
struct Reports {
    deliveries: Mutex<Deliveries>,
    all_in: Condvar,
}

struct Context(Arc<Reports>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer");
    }
}

impl ProducerContext for Context {
    /// The record's place in the batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let mut deliveries = self.0.deliveries.lock();
        deliveries.open = deliveries.open.saturating_sub(1);
        if let Err((error, _)) = result
            && deliveries.failed.is_none()
        {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            deliveries.failed = Some((place, code));
        }
        if deliveries.open == 0 {
            self.0.all_in.notify_one();
        }
    }
}

/// How long the thread waits for delivery reports at a time; closing a producer waits for the thread. The binding's
/// wait spins during its last millisecond, so an idle producer costs 0.5 % of a core.
const WAIT: Duration = Duration::from_millis(200);

pub(crate) struct Transactional {
    producer: Arc<BaseProducer<Context>>,
    reports: Arc<Reports>,
    stopped: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Drop for Transactional {
    fn drop(&mut self) {
        self.stop();
        if let Some(serving) = self.serving.take() {
            // Only the binding could panic there, and the panic is printed.
            serving.join().ok();
        }
    }
}

impl Transactional {
    pub fn new(config: &ClientConfig) -> Result<Self, Error> {
        let failed = Error::fatal("create a producer");
        let reports = Arc::new(Reports::default());
        let context = Context(reports.clone());
        let producer: BaseProducer<Context> =
            config.create_with_context(context).map_err(failed)?;
        let producer = Arc::new(producer);
        let stopped = Arc::new(AtomicBool::new(false));
        let (served, done) = (producer.clone(), stopped.clone());
        let serve = move || {
            while !done.load(SeqCst) {
                served.poll(WAIT);
            }
        };
        let serving = std::thread::Builder::new()
            .name("reports".to_owned())
            .spawn(serve)
            .map_err(|_| Error::Thread("reports"))?;
        Ok(Self {
            producer,
            reports,
            stopped,
            serving: Some(serving),
        })
    }

    /// Tells the thread to end, so that dropping this waits less.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
    }

    /// Takes the transactional id over: fences the producer that had it, and aborts its open transaction.
    pub fn init(&self, timeout: Duration) -> KafkaResult<()> {
        self.producer.init_transactions(timeout)
    }

    /// Writes a batch's outputs and offsets in one transaction. `group` must have been read from the consumer before
    /// the batch was taken from the machine.
    pub fn commit(
        &self,
        batch: &Batch<Resolved>,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        self.producer.begin_transaction()?;
        *self.reports.deliveries.lock() = Deliveries::default();
        for (place, resolved) in batch.results.iter().enumerate() {
            for writing in &resolved.writings {
                self.send(writing, place)?;
            }
        }
        self.producer
            .send_offsets_to_transaction(offsets, group, Duration::from_secs(30))?;
        self.delivered()?;
        self.producer.commit_transaction(Timeout::Never)?;
        Ok(())
    }

    /// Aborts a failed transaction.
    pub fn abort(&self) -> KafkaResult<()> {
        self.producer.abort_transaction(Timeout::Never)
    }

    fn send(&self, writing: &Writing, place: usize) -> Result<(), Failure> {
        let mut headers = OwnedHeaders::new_with_capacity(writing.headers.len());
        for (key, value) in writing.headers.iter() {
            let value = value.map(AsRef::as_ref);
            headers = headers.insert(Header { key, value });
        }
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(&writing.topic, place).headers(headers);
        record.key = writing.key.as_deref();
        record.payload = writing.value.as_deref();
        self.reports.deliveries.lock().open += 1;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    self.reports.deliveries.lock().open -= 1;
                    let large = error.rdkafka_error_code().is_some_and(too_large);
                    return Err(Failure {
                        error,
                        too_large: large.then_some(place),
                    });
                }
            }
        }
    }

    /// Waits until every record is acknowledged or failed, which message.timeout.ms bounds. The binding's own flush
    /// would sleep in steps of 100 ms.
    fn delivered(&self) -> Result<(), Failure> {
        let mut deliveries = self.reports.deliveries.lock();
        self.reports
            .all_in
            .wait_while(&mut deliveries, |d| d.open > 0);
        if let Some((place, code)) = deliveries.failed {
            return Err(Failure {
                error: KafkaError::MessageProduction(code),
                too_large: too_large(code).then_some(place),
            });
        }
        drop(deliveries);
        // The last record counts as in flight until its report's event is destroyed, shortly after the callback.
        let patience = Instant::now();
        while self.producer.in_flight_count() > 0 && patience.elapsed() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// Larger than the topic, or a segment of its log, accepts.
fn too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_joined_again_is_not_taken_for_a_clone() {
        let fenced = |code| Failure::from(KafkaError::MessageProduction(code)).fenced();
        assert!(fenced(Code::ProducerFenced));
        assert!(!fenced(Code::FencedInstanceId));
    }
}
