//! The commit thread: transaction calls block, so they have a thread of their own.

use super::{
    consumer::{self, Batching, GroupConsumer},
    dispose,
    producer::{Failure, Transactional},
    shared::{Shared, TICK},
    writing::Resolved,
};
use crate::{
    Error, KafkaSettings, LoopSettings, Spec,
    machine::{Batch, Due, Epoch},
    metrics::Kind,
    trace,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

/// Commits with one record a request, after one was refused for its size.
const SINGLES: u32 = 100;
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

pub(crate) struct Committer {
    pub consumer: Arc<GroupConsumer>,
    pub shared: Arc<Shared>,
    pub kafka: KafkaSettings,
    pub settings: LoopSettings,
    pub spec: Spec,
    /// The input topic's full name.
    pub topic: String,
    pub producers: Vec<Transactional>,
    pub turn: usize,
    /// Commits that failed in a row.
    pub failures: u32,
    pub batching: Batching,
    /// Commits since single records were last sent for want of knowing which one is too large.
    pub singles: u32,
}

impl Committer {
    pub fn run(mut self) -> Result<(), Error> {
        self.recover()?;
        self.shared.joined.store(true, SeqCst);
        self.shared.poller.wake();
        while self.wait() {
            // The group's metadata first: were it read after the batch was taken, it could be newer than the
            // batch and bless offsets of an assignment that is over.
            let Some(group) = self.consumer.group_metadata() else {
                return Err(Error::Thread("consumer"));
            };
            let Some(batch) = self.shared.machine().take_batch() else {
                continue;
            };
            let started = Instant::now();
            let offsets = self.list(batch.offsets.iter().map(|(&p, &o)| (p, Offset::Offset(o))));
            let producer = &self.producers[self.turn % self.producers.len()];
            let result = self.calling(|| producer.commit(&batch, &offsets, &group));
            match result {
                Ok(()) => self.committed(batch, started)?,
                Err(_) if self.shared.killed() => break,
                Err(failure) => self.failed(batch, failure, started)?,
            }
        }
        self.shared.status.producer_ready(false);
        self.dispose_of_producers();
        Ok(())
    }

    /// Closes them, which may take long while the brokers are away.
    fn dispose_of_producers(&mut self) {
        self.producers.iter().for_each(Transactional::stop);
        dispose("producers", std::mem::take(&mut self.producers));
    }

    /// Waits until a commit is due; false where the loop is to end.
    fn wait(&self) -> bool {
        let mut machine = self.shared.machine();
        loop {
            self.shared.status.commit_tick();
            if self.shared.killed() || self.shared.finished.load(SeqCst) || machine.drained() {
                return false;
            }
            let now = self.shared.now();
            let longest = match machine.due(now) {
                Due::Now => return true,
                Due::At(then) => then.saturating_sub(now).min(TICK),
                Due::Never => TICK,
            };
            machine = self.shared.wait_due(machine, longest);
        }
    }

    /// Nobody needs a producer any more.
    fn ending(&self) -> bool {
        self.shared.killed() || self.shared.finished.load(SeqCst) || self.shared.machine().drained()
    }

    fn committed(&mut self, batch: Batch<Resolved>, started: Instant) -> Result<(), Error> {
        self.turn = self.turn.wrapping_add(1);
        self.failures = 0;
        let (wanted, in_flight, open) = {
            let mut machine = self.shared.machine();
            machine.committed(self.shared.now());
            let in_flight = machine.in_flight();
            (machine.wants_poller(), in_flight, machine.circuit_open())
        };
        self.shared.wake_poller_if_wanted(wanted);
        self.shared.publish(in_flight, open);
        let now = self.shared.now();
        self.shared
            .backlog()
            .committed(&batch.offsets, batch.results.len(), now);
        self.account(batch, started.elapsed());
        if self.batching == Batching::Single {
            self.singles += 1;
            if self.singles >= SINGLES {
                self.batching = Batching::Several;
                return self.recover();
            }
        }
        Ok(())
    }

    fn account(&self, batch: Batch<Resolved>, took: Duration) {
        let metrics = &self.shared.metrics;
        metrics.commit(took, batch.results.len());
        let now_ms = sightline_contracts::now_ms();
        for resolved in batch.results {
            metrics.committed_after(resolved.received.elapsed());
            trace::committed(&resolved.span, resolved.reason);
            self.shared.refused.settled(resolved.place());
            if let Some(notified) = resolved.notified_ms {
                metrics.end_to_end(now_ms - notified);
            }
            match resolved.reason {
                None => metrics.record(Kind::Done, 1),
                Some(reason) => {
                    metrics.record(Kind::Rejected, 1);
                    metrics.dead_letter(reason);
                }
            }
        }
    }

    /// Any error around a commit: abort, throw the producers away, ask the broker what holds.
    fn failed(
        &mut self,
        batch: Batch<Resolved>,
        failure: Failure,
        started: Instant,
    ) -> Result<(), Error> {
        self.shared.metrics.aborts.inc();
        self.shared
            .metrics
            .record(Kind::Dropped, batch.results.len() as u64);
        // The broker also fences who lets a transaction get too old, a process that was stopped for a while, say.
        // Only a younger one proves a clone.
        if failure.fenced() && started.elapsed() < self.settings.transaction_timeout * 8 / 10 {
            return Err(self.fenced());
        }
        self.look_for_too_large(&batch, &failure);
        let producer = &self.producers[self.turn % self.producers.len()];
        tracing::warn!(error = %failure.error, records = batch.results.len(), "commit failed; starting over from what the broker holds");
        if let Err(error) = self.calling(|| producer.abort()) {
            tracing::debug!(%error, "abort");
        }
        self.shared.machine().doubted();
        self.shared.backlog().doubted(self.shared.now());
        self.shared.wake_poller_if_wanted(true);
        self.failures += 1;
        if self.failures > 1 {
            self.pause(self.failures - 1);
        }
        self.recover()
    }

    /// A request was refused for its size: with one record a request it is known whose output, or dead letter, that was.
    fn look_for_too_large(&mut self, batch: &Batch<Resolved>, failure: &Failure) {
        let Some(resolved) = failure.too_large.and_then(|place| batch.results.get(place)) else {
            return;
        };
        self.singles = 0;
        let (place, size) = (resolved.place(), resolved.size());
        if self.batching != Batching::Single {
            self.batching = Batching::Single;
        } else if resolved.reason.is_none() {
            let error = format!("the broker refuses the output of {size} bytes: too large");
            self.shared.refused.outputs(place, error);
        } else {
            let left_out = self.shared.refused.dead_letter(place);
            let (partition, offset) = place;
            tracing::warn!(
                partition,
                offset,
                size,
                ?left_out,
                "the broker refuses the dead letter for its size; it is written smaller"
            );
        }
    }

    /// A call that blocks, as long as the brokers are away even: that is not a reason to be restarted.
    fn calling<T>(&self, call: impl FnOnce() -> T) -> T {
        self.shared.status.calling(true);
        let result = call();
        self.shared.status.commit_tick();
        self.shared.status.calling(false);
        result
    }

    fn fenced(&self) -> Error {
        Error::Fenced {
            service: self.spec.service.to_owned(),
            instance: self.settings.instance.clone(),
        }
    }

    /// New producers, which fence the old; then the committed offsets, as the broker has them.
    fn recover(&mut self) -> Result<(), Error> {
        self.shared.status.producer_ready(false);
        if !self.producers.is_empty() {
            self.shared.metrics.recycles.inc();
            self.dispose_of_producers();
        }
        for number in 0..self.settings.producers {
            match self.producer(number)? {
                Some(producer) => self.producers.push(producer),
                None => return Ok(()),
            }
        }
        let mut tries = 0;
        while !self.ending() {
            let unknown = self.shared.machine().unknown();
            match self.read_committed(&unknown) {
                Ok(offsets) => {
                    let mut machine = self.shared.machine();
                    machine.recovered(&offsets);
                    if machine.unknown().is_empty() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "could not read the committed offsets; trying again");
                    tries += 1;
                    self.pause(tries);
                }
            }
        }
        self.shared.status.producer_ready(true);
        self.shared.wake_poller_if_wanted(true);
        Ok(())
    }

    /// A producer that has taken its transactional id over; none where the loop ends before the brokers answer.
    fn producer(&self, number: usize) -> Result<Option<Transactional>, Error> {
        let config = consumer::producer_config(
            &self.kafka,
            &self.settings,
            self.spec.service,
            number,
            self.batching,
        )?;
        let mut tries = 0;
        let mut made: Option<Transactional> = None;
        while !self.ending() {
            self.shared.status.commit_tick();
            let producer = match made.take() {
                Some(producer) => producer,
                None => Transactional::new(&config)?,
            };
            match self.calling(|| producer.init(Duration::from_secs(5))) {
                Ok(()) => return Ok(Some(producer)),
                Err(error) if refused(&error) => {
                    let doing = "take over the transactional id".to_owned();
                    return Err(Error::Fatal {
                        doing,
                        source: error,
                    });
                }
                Err(error) => {
                    tries += 1;
                    tracing::warn!(%error, "could not initialise the producer; trying again");
                    match &error {
                        KafkaError::Transaction(e) if e.is_retriable() => made = Some(producer),
                        _ => dispose("producer", producer),
                    }
                    self.pause(tries);
                }
            }
        }
        Ok(None)
    }

    fn read_committed(
        &self,
        unknown: &[(i32, Epoch)],
    ) -> Result<Vec<(i32, Epoch, Option<i64>)>, KafkaError> {
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.list(unknown.iter().map(|&(p, _)| (p, Offset::Invalid)));
        let answer = self
            .consumer
            .committed_offsets(asked, Duration::from_secs(5))?;
        let mut held = BTreeMap::new();
        for element in answer.elements() {
            element.error()?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            held.insert(element.partition(), offset);
        }
        let offsets = unknown.iter().filter_map(|&(partition, epoch)| {
            held.get(&partition)
                .map(|&offset| (partition, epoch, offset))
        });
        Ok(offsets.collect())
    }

    fn list(&self, offsets: impl Iterator<Item = (i32, Offset)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            if let Err(error) = list.add_partition_offset(&self.topic, partition, offset) {
                tracing::error!(%error, partition, "offset out of range");
            }
        }
        list
    }

    /// A pause that grows with the failures in a row, cut short when the loop ends.
    fn pause(&self, failures: u32) {
        let nominal = Duration::from_millis(100) * 2u32.saturating_pow(failures.min(8));
        let deadline = Instant::now() + nominal.min(LONGEST_BACKOFF);
        while Instant::now() < deadline && !self.ending() {
            self.shared.status.commit_tick();
            std::thread::sleep(TICK.min(deadline.saturating_duration_since(Instant::now())));
        }
    }
}

/// Errors that time does not mend.
fn refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TransactionalIdAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::InvalidTransactionTimeout
                | Code::Authentication
                | Code::SaslAuthenticationFailed
        )
    )
}
