//! The consumer: its configuration and its callbacks, and the producers' configuration.

use super::{backlog::Seen, shared::Shared};
use crate::{Error, KafkaSettings, LoopSettings, Spec, client};
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, ClientContext, Statistics, TopicPartitionList,
    config::{FromClientConfigAndContext as _, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    statistics::Partition,
    types::RDKafkaRespErr,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// What the group decided about this consumer's partitions.
#[derive(Debug)]
pub(crate) enum Decision {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
    Lost(Vec<i32>),
}

pub(crate) type GroupConsumer = BaseConsumer<Context>;

/// Collects the group's decisions. The poll thread acts on them, outside the callback.
pub(crate) struct Context {
    topic: String,
    /// Weak, since outputs that wait in it may hold messages, which hold the consumer, which holds this.
    shared: Weak<Shared>,
    decisions: Mutex<VecDeque<Decision>>,
    /// The consumer leaves the group: whatever is assigned or revoked is given back at once.
    leaving: AtomicBool,
}

impl Context {
    fn new(topic: String, shared: Weak<Shared>) -> Self {
        Self {
            topic,
            shared,
            decisions: Mutex::default(),
            leaving: AtomicBool::new(false),
        }
    }

    pub fn next(&self) -> Option<Decision> {
        self.decisions.lock().pop_front()
    }

    pub fn leave(&self) {
        self.leaving.store(true, SeqCst);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let shared = self.shared.upgrade();
        let Some(shared) = shared.filter(|_| !self.leaving.load(SeqCst)) else {
            let given_back = if assigned {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = given_back {
                tracing::debug!(%error, "giving partitions back");
            }
            return;
        };
        shared.metrics().rebalances.inc();
        let decision = match (assigned, consumer.assignment_lost()) {
            (true, _) => Decision::Assigned(partitions),
            (false, false) => Decision::Revoked(partitions),
            (false, true) => Decision::Lost(partitions),
        };
        tracing::info!(?decision, "group decided");
        self.decisions.lock().push_back(decision);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "consumer");
    }

    fn stats(&self, statistics: Statistics) {
        let topic = statistics.topics.get(&self.topic);
        let Some((topic, shared)) = topic.zip(self.shared.upgrade()) else {
            return;
        };
        let ours = shared.machine().partitions();
        let known = |p: &&Partition| ours.contains(&p.partition) && p.next_offset >= 0;
        let partitions = topic.partitions.values().filter(known);
        shared.lag().seen(partitions.map(|partition| {
            let seen = Seen {
                next_offset: partition.next_offset,
                end: partition.ls_offset,
                received: partition.rxmsgs,
                queued: usize::try_from(partition.fetchq_cnt).unwrap_or(0),
            };
            (partition.partition, seen)
        }));
    }
}

/// The loop's consumer, which wakes the poller. It joins no group yet.
pub(crate) fn connect(
    kafka: &KafkaSettings,
    settings: &LoopSettings,
    spec: Spec,
    shared: &Arc<Shared>,
) -> Result<Arc<GroupConsumer>, Error> {
    let config = config(kafka, settings, spec.service)?;
    let topic = settings.prefixed(spec.input.name());
    let context = Context::new(topic, Arc::downgrade(shared));
    let mut consumer = GroupConsumer::from_config_and_context(&config, context)
        .map_err(|error| Error::Settings(format!("kafka consumer: {error}")))?;
    let signal = shared.poller().clone();
    consumer.set_nonempty_callback(move || signal.wake());
    Ok(Arc::new(consumer))
}

/// The properties that exactly-once depends on are set last, so that `--kafka-property` can't change them.
fn config(
    kafka: &KafkaSettings,
    settings: &LoopSettings,
    service: &str,
) -> Result<ClientConfig, Error> {
    let identity = settings.prefixed(&format!("{service}.{}", settings.instance));
    let defaults = [
        ("fetch.wait.max.ms", "100"),
        ("fetch.min.bytes", "1"),
        ("fetch.message.max.bytes", "8388608"),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.error.backoff.ms", "100"),
        ("check.crcs", "true"),
        ("heartbeat.interval.ms", "1000"),
        ("topic.metadata.refresh.interval.ms", "10000"),
        ("reconnect.backoff.max.ms", "1000"),
        ("socket.nagle.disable", "true"),
        ("statistics.interval.ms", "5000"),
    ];
    let mut config = kafka.client_config(&identity, &defaults)?;
    let group = settings.group.as_deref().unwrap_or(service);
    let session = settings.session_timeout;
    config
        .set(
            "queued.max.messages.kbytes",
            settings.prefetch_kbytes.to_string(),
        )
        .set("group.id", settings.prefixed(group))
        .set("group.instance.id", &identity)
        .set("session.timeout.ms", session.as_millis().to_string())
        .set(
            "max.poll.interval.ms",
            session.max(Duration::from_secs(60)).as_millis().to_string(),
        )
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    Ok(config)
}

/// How many records go into one request to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batching {
    /// As many as come together, within [`REQUEST_BYTES`].
    Several,
    /// One, so that a request that is refused for its size names the record.
    Single,
}

/// Bytes of a request to a partition. A topic's limit holds for the whole request, so this is less than any topic's
/// limit. It is also less than half a region of a small JVM heap (`-XX:G1HeapRegionSize`, 1 MiB for heaps up to 2 GiB):
/// G1 allocates larger objects separately, and requests of 7 MB cost the broker 1.5 times as much.
const REQUEST_BYTES: &str = "500000";

/// The configuration of one of the instance's producers.
pub(crate) fn producer_config(
    kafka: &KafkaSettings,
    settings: &LoopSettings,
    service: &str,
    number: usize,
    batch: Batching,
) -> Result<ClientConfig, Error> {
    let identity = settings.prefixed(&format!("{service}.{}", settings.instance));
    // The first has the plain name. The others have a suffix with a character that no instance's name has.
    let transactional = match number {
        0 => identity.clone(),
        n => format!("{identity}~{n}"),
    };
    let defaults = [
        ("linger.ms", "0"),
        ("reconnect.backoff.max.ms", "1000"),
        ("retry.backoff.ms", "20"),
        ("socket.nagle.disable", "true"),
        ("topic.metadata.refresh.interval.ms", "10000"),
        ("partitioner", "murmur2_random"),
        ("batch.size", REQUEST_BYTES),
        // A broker handles a connection's requests one after the other anyway. librdkafka's thread spins while five
        // records of a partition are unacknowledged and more wait, unless a request waits as well. With one request at
        // a time, one does wait, and the thread sleeps.
        ("max.in.flight.requests.per.connection", "1"),
    ];
    let mut config = kafka.client_config(&identity, &defaults)?;
    if batch == Batching::Single {
        config.set("batch.num.messages", "1");
    }
    config
        .set(
            "message.max.bytes",
            (super::work::LARGEST_OUTPUT + (1 << 20)).to_string(),
        )
        .set("transactional.id", transactional)
        .set("enable.idempotence", "true")
        .set(
            "transaction.timeout.ms",
            settings.transaction_timeout.as_millis().to_string(),
        );
    Ok(config)
}
