//! The poll thread. It never stops polling, and makes no call that takes long.
//!
//! Each partition has a queue of its own. While no more records may be taken, the partitions' queues are not read:
//! librdkafka then stops fetching and keeps what it has fetched. The consumer's main queue, which delivers the group's
//! decisions, is always served.

use super::{
    consumer::{Context, Decision, GroupConsumer},
    fetched::Fetched,
    phase::Phase,
    shared::{Shared, TICK},
    work::Work,
};
use crate::{Error, LoopSettings, Record, Spec, Stage};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{Consumer as _, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::field::{Empty, display};

/// The most records that are taken before the main queue is served again.
const TURN: usize = 256;

pub(crate) struct Poller<S> {
    consumer: Arc<GroupConsumer>,
    queues: Vec<Queue>,
    /// Queues of partitions that were given back. Values that came through them may be in use.
    closed: Vec<Queue>,
    shared: Arc<Shared>,
    work: Arc<Work<S>>,
    tasks: TaskTracker,
    runtime: Handle,
    spec: Spec,
    instance: String,
    /// The topic's full name.
    topic: String,
    subscribed: bool,
    /// When an error of the consumer was last logged as a warning.
    complained: Cell<Option<Instant>>,
    /// When the backlog was last measured.
    measured: Instant,
}

struct Queue {
    partition: i32,
    queue: Arc<PartitionQueue<Context>>,
}

impl<S: Stage> Poller<S> {
    /// Must be called within a runtime, which the records' tasks are spawned on.
    pub fn new(
        consumer: Arc<GroupConsumer>,
        shared: Arc<Shared>,
        work: Work<S>,
        tasks: TaskTracker,
        spec: Spec,
        settings: &LoopSettings,
    ) -> Self {
        Self {
            consumer,
            queues: Vec::new(),
            closed: Vec::new(),
            shared,
            work: Arc::new(work),
            tasks,
            runtime: Handle::current(),
            spec,
            instance: settings.instance.clone(),
            topic: settings.prefixed(spec.input.name()),
            subscribed: false,
            complained: Cell::new(None),
            measured: Instant::now(),
        }
    }

    pub fn run(mut self) -> Result<(), Error> {
        loop {
            self.shared.status().poll_tick();
            match self.shared.phase() {
                Phase::Starting | Phase::Late => {}
                Phase::Running => self.subscribe()?,
                Phase::Leaving => {
                    self.leave();
                    return Ok(());
                }
                Phase::Killed => return Ok(()),
            }
            if !self.turn()? {
                self.shared.poller().wait(TICK);
            }
        }
    }

    /// Joins the group, once.
    fn subscribe(&mut self) -> Result<(), Error> {
        if self.subscribed {
            return Ok(());
        }
        self.subscribed = true;
        let topic = self.topic.as_str();
        self.consumer
            .subscribe(&[topic])
            .map_err(Error::fatal(format!("subscribe to {topic}")))
    }

    /// Does everything that is to do now. True where there is more.
    fn turn(&mut self) -> Result<bool, Error> {
        self.serve_main_queue()?;
        let mut more = false;
        while let Some(decision) = self.consumer.context().next() {
            self.decided(decision);
            more = true;
        }
        self.give_back();
        self.seek();
        self.measure();
        Ok(self.take()? || more)
    }

    fn measure(&mut self) {
        const PAUSE: Duration = Duration::from_secs(1);
        if self.measured.elapsed() >= PAUSE {
            self.measured = Instant::now();
            self.shared.measure();
        }
    }

    fn serve_main_queue(&mut self) -> Result<(), Error> {
        // A poll handles at most one event, and does not tell whether there was one.
        for _ in 0..4 {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                // Later records may have been taken from the partition's own queue already.
                Some(Ok(message)) => {
                    return Err(Error::Astray {
                        topic: self.topic.clone(),
                        partition: message.partition(),
                        offset: message.offset(),
                    });
                }
                Some(Err(error)) => self.complain(error)?,
            }
        }
        Ok(())
    }

    fn decided(&mut self, decision: Decision) {
        match decision {
            Decision::Assigned(partitions) => {
                // Before the assignment, so that no record is fetched into the main queue, where later ones would
                // overtake it.
                for &partition in &partitions {
                    self.split(partition);
                }
                self.call("assign", &partitions, |c, list| c.incremental_assign(list));
                // After librdkafka has requested the committed offsets, so that it need not wait for our mark's
                // transaction.
                self.shared.change(|machine| machine.assigned(&partitions));
            }
            Decision::Revoked(partitions) => {
                self.shared.change(|machine| machine.revoked(&partitions));
                if partitions.is_empty() {
                    self.call("unassign", &partitions, |c, list| {
                        c.incremental_unassign(list)
                    });
                }
            }
            Decision::Lost(partitions) => {
                self.shared.change(|machine| machine.lost(&partitions));
                self.close(&partitions);
                self.call("unassign", &partitions, |c, list| {
                    c.incremental_unassign(list)
                });
            }
        }
    }

    fn split(&mut self, partition: i32) {
        self.close(&[partition]);
        // Destroying a queue also ends the delivery to a newer queue of the same partition, so an old one is destroyed
        // before the next is made, or kept.
        self.closed
            .retain(|q| q.partition != partition || Arc::strong_count(&q.queue) > 1);
        if let Some(mut queue) = self.consumer.split_partition_queue(&self.topic, partition) {
            let signal = self.shared.poller().clone();
            queue.set_nonempty_callback(move || signal.wake());
            let queue = Arc::new(queue);
            self.queues.push(Queue { partition, queue });
        }
    }

    fn close(&mut self, partitions: &[i32]) {
        let leaving = |q: &mut Queue| partitions.contains(&q.partition);
        self.closed.extend(self.queues.extract_if(.., leaving));
        for &partition in partitions {
            self.shared.lag().forget(partition);
        }
    }

    /// Gives back revoked partitions that no commit needs any more.
    fn give_back(&mut self) {
        let leaving = self.shared.machine().releasable();
        if !leaving.is_empty() {
            self.close(&leaving);
            self.call("unassign", &leaving, |c, list| c.incremental_unassign(list));
        }
    }

    fn call(
        &self,
        what: &str,
        partitions: &[i32],
        act: impl Fn(&GroupConsumer, &TopicPartitionList) -> Result<(), KafkaError>,
    ) {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        if let Err(error) = act(&self.consumer, &list) {
            // The next decision of the group corrects it.
            tracing::warn!(%error, ?partitions, "could not {what} partitions");
        }
    }

    fn seek(&mut self) {
        let seeks = self.shared.machine().seeks();
        for (partition, epoch, offset) in seeks {
            let to = Offset::Offset(offset);
            let sought = self
                .consumer
                .seek(&self.topic, partition, to, Duration::from_secs(1));
            match sought {
                Ok(()) => {
                    tracing::info!(partition, ?to, "going on from the committed offset");
                    self.shared.machine().sought(partition, epoch);
                }
                Err(error) => tracing::debug!(%error, partition, "seek; trying again"),
            }
        }
    }

    /// Takes records from the partitions in turn. True where some may be left.
    fn take(&mut self) -> Result<bool, Error> {
        let queues = std::mem::take(&mut self.queues);
        let taken = self.take_from(&queues);
        self.queues = queues;
        taken
    }

    fn take_from(&mut self, queues: &[Queue]) -> Result<bool, Error> {
        let mut taken = 0;
        loop {
            let before = taken;
            for Queue { partition, queue } in queues {
                if !self.room(*partition) {
                    continue;
                }
                match Fetched::from(queue) {
                    None => continue,
                    Some(Ok(fetched)) => self.taken(fetched),
                    Some(Err(error)) => self.complain(error)?,
                }
                taken += 1;
            }
            if taken == before || taken >= TURN {
                return Ok(taken >= TURN);
            }
        }
    }

    fn room(&self, partition: i32) -> bool {
        let mut machine = self.shared.machine();
        machine.admits(self.shared.now()) && machine.flows(partition)
    }

    fn taken(&self, fetched: Fetched) {
        let received = Instant::now();
        let mut record = Record::without_value(self.spec.input.name(), fetched.message());
        record.value = fetched.into_value();
        let now = self.shared.now();
        let ticket =
            self.shared
                .machine()
                .taken(record.partition, record.offset, record.size(), now);
        if let Some(ticket) = ticket {
            let dropped = record.headers.dropped() as u64;
            self.shared.metrics().dropped_headers.inc_by(dropped);
            self.shared.lag().taken(&record);
            // At the highest level, so that no filter removes it from the lines that are logged.
            record.span = tracing::error_span!(
                parent: None,
                "record",
                otel.name = self.spec.service,
                otel.kind = "consumer",
                image_id = Empty,
                trace_id = Empty,
                topic = record.topic,
                partition = record.partition,
                offset = record.offset,
            );
            record.trace = record.trace.joined(&record.span);
            record
                .span
                .record("trace_id", display(record.trace.trace_id_text()));
            let work = self.work.clone().run(ticket, record, received);
            self.tasks.spawn_on(work, &self.runtime);
        }
    }

    /// Returns an error that ends the loop, and logs one that may pass.
    fn complain(&self, error: KafkaError) -> Result<(), Error> {
        let topic = || self.topic.clone();
        match &error {
            KafkaError::MessageConsumptionFatal(Code::FencedInstanceId) => Err(Error::Fenced {
                service: self.spec.service.to_owned(),
                instance: self.instance.clone(),
            }),
            KafkaError::MessageConsumptionFatal(_) => Err(Error::Fatal {
                doing: format!("consume {}", self.topic),
                source: error,
            }),
            KafkaError::MessageConsumption(Code::TopicAuthorizationFailed) => Err(Error::Topic {
                topic: topic(),
                problem: "reading it is not allowed".to_owned(),
            }),
            _ => {
                self.warn(&error);
                Ok(())
            }
        }
    }

    /// Logs an error as a warning at most once in ten seconds: librdkafka repeats it twenty times a second.
    fn warn(&self, error: &KafkaError) {
        const PAUSE: Duration = Duration::from_secs(10);
        let lately = |at: Instant| at.elapsed() < PAUSE;
        if self.complained.get().is_some_and(lately) {
            tracing::debug!(%error, "consumer");
            return;
        }
        self.complained.set(Some(Instant::now()));
        let code = error.rdkafka_error_code();
        if let Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) = code {
            let topic = &self.topic;
            tracing::warn!(topic, "the topic does not exist yet; waiting for it");
        } else {
            tracing::warn!(%error, "consumer");
        }
    }

    /// Leaves the group, so that others take over at once. A static member must unsubscribe for that.
    fn leave(mut self) {
        self.consumer.context().leave();
        self.queues.clear();
        while self.consumer.context().next().is_some() {}
        let mut ours = TopicPartitionList::new();
        for partition in self.shared.machine().releasable() {
            ours.add_partition(&self.topic, partition);
        }
        if ours.count() > 0
            && let Err(error) = self.consumer.incremental_unassign(&ours)
        {
            tracing::debug!(%error, "giving partitions back");
        }
        self.consumer.unsubscribe();
        let deadline = Instant::now() + Duration::from_secs(3);
        let assigned = || {
            self.consumer
                .assignment()
                .is_ok_and(|list| list.count() > 0)
        };
        while assigned() && Instant::now() < deadline {
            drop(self.consumer.poll(Duration::from_millis(10)));
        }
    }
}
