//! The commit thread. Transaction calls block, so they have a thread of their own.

mod claims;

use super::{
    consumer::{self, Batching, GroupConsumer},
    phase::Phase,
    producer::{Failure, Transactional},
    shared::{Shared, TICK},
    writing::Resolved,
};
use crate::{
    Error, KafkaSettings, LoopSettings, Spec,
    client::dispose,
    machine::{Batch, Due, Machine},
    metrics::Kind,
    trace,
};
use claims::Claims;
use rdkafka::{
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How many commits send one record a request, after a request was refused for its size.
const SINGLES: u32 = 100;
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

pub(crate) struct Committer {
    consumer: Arc<GroupConsumer>,
    shared: Arc<Shared>,
    kafka: KafkaSettings,
    settings: LoopSettings,
    spec: Spec,
    /// The input topic's full name.
    topic: String,
    producers: Vec<Transactional>,
    turn: usize,
    /// Commits that failed in a row.
    failures: u32,
    batching: Batching,
    /// Commits with one record a request since the last refusal.
    singles: u32,
    claims: Claims,
}

/// What there is to do.
enum Next {
    Commit,
    /// Read the committed offsets and marks of new partitions.
    Look,
    End,
}

/// A transaction that was tried.
struct Tried {
    batch: Batch<Resolved>,
    started: Instant,
    result: Result<(), Failure>,
}

impl Committer {
    pub fn new(
        consumer: Arc<GroupConsumer>,
        shared: Arc<Shared>,
        spec: Spec,
        kafka: KafkaSettings,
        settings: LoopSettings,
    ) -> Self {
        Self {
            consumer,
            shared,
            kafka,
            spec,
            topic: settings.prefixed(spec.input.name()),
            settings,
            producers: Vec::new(),
            turn: 0,
            failures: 0,
            batching: Batching::Several,
            singles: 0,
            claims: Claims::default(),
        }
    }

    pub fn run(mut self) -> Result<(), Error> {
        self.recover()?;
        self.shared.advance(Phase::Running);
        loop {
            match self.wait() {
                Next::Look => self.look(),
                Next::Commit => self.commit()?,
                Next::End => break,
            }
        }
        self.part()?;
        self.shared.status().producer_ready(false);
        self.dispose_of_producers();
        Ok(())
    }

    /// Commits what is due, if anything of it is still ours.
    fn commit(&mut self) -> Result<(), Error> {
        let Some(tried) = self.transaction()? else {
            return Ok(());
        };
        match tried.result {
            Ok(()) => self.committed(tried.batch, tried.started),
            Err(_) if self.killed() => Ok(()),
            Err(failure) => self.failed(tried.batch, failure, tried.started),
        }
    }

    fn transaction(&self) -> Result<Option<Tried>, Error> {
        // The group's metadata first: if it were read after the batch was taken, it could be newer than the batch, and
        // the broker would accept offsets of an assignment that is over.
        let Some(group) = self.consumer.group_metadata() else {
            return Err(Error::Thread("consumer"));
        };
        let Some(batch) = self.shared.machine().take_batch() else {
            return Ok(None);
        };
        let started = Instant::now();
        let offsets = claims::list(&self.topic, &batch.places);
        let result = self.calling(|| self.producer_in_turn().commit(&batch, &offsets, &group));
        Ok(Some(Tried {
            batch,
            started,
            result,
        }))
    }

    fn producer_in_turn(&self) -> &Transactional {
        &self.producers[self.turn % self.producers.len()]
    }

    /// The last commit, which says of each partition that its owner ends cleanly. It is tried once; if it fails, the
    /// next owner counts a death.
    fn part(&mut self) -> Result<(), Error> {
        if self.killed() || self.producers.len() < self.settings.producers {
            return Ok(());
        }
        self.shared.machine().part();
        let Some(tried) = self.transaction()? else {
            return Ok(());
        };
        match tried.result {
            Ok(()) => {
                let now = self.shared.now();
                self.shared.change(|machine| machine.committed(now));
                self.account(tried.batch, tried.started.elapsed());
            }
            Err(Failure { error, .. }) => {
                tracing::warn!(%error, "could not say that the partitions are given back cleanly");
                self.abort();
                self.shared.change(Machine::doubted);
            }
        }
        Ok(())
    }

    /// Aborts the transaction. Otherwise readers of the offsets would wait until it times out.
    fn abort(&self) {
        if let Err(error) = self.calling(|| self.producer_in_turn().abort()) {
            tracing::debug!(%error, "abort");
        }
    }

    /// Closes the producers, which may take long while the brokers are away.
    fn dispose_of_producers(&mut self) {
        self.producers.iter().for_each(Transactional::stop);
        dispose("producers", std::mem::take(&mut self.producers));
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Next {
        let mut machine = self.shared.machine();
        loop {
            self.shared.status().commit_tick();
            if self.stopped() || machine.drained() {
                return Next::End;
            }
            let now = self.shared.now();
            let longest = match machine.due(now) {
                Due::Now => return Next::Commit,
                Due::At(then) => then.saturating_sub(now).min(TICK),
                Due::Never => TICK,
            };
            if self.claims.due() && !machine.unclaimed().is_empty() {
                return Next::Look;
            }
            self.shared.wait_for_change(&mut machine, longest);
        }
    }

    /// Nothing more is to be committed, even if something is left.
    fn stopped(&self) -> bool {
        self.shared.phase() >= Phase::Late
    }

    fn killed(&self) -> bool {
        self.shared.phase() == Phase::Killed
    }

    /// No producer is needed any more.
    fn ending(&self) -> bool {
        self.stopped() || self.shared.machine().drained()
    }

    fn committed(&mut self, batch: Batch<Resolved>, started: Instant) -> Result<(), Error> {
        self.turn = self.turn.wrapping_add(1);
        self.failures = 0;
        let now = self.shared.now();
        self.shared.change(|machine| machine.committed(now));
        self.shared.lag().committed(&batch);
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
        let metrics = self.shared.metrics();
        match batch.results.len() {
            0 => tracing::debug!(partitions = ?batch.places.keys(), ?took, "marked"),
            records => metrics.commit(took, records),
        }
        let now_ms = sightline_contracts::now_ms();
        for resolved in batch.results {
            metrics.committed_after(resolved.received.elapsed());
            trace::committed(&resolved.span, resolved.reason);
            self.shared.refused().settled(resolved.place());
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

    /// After any error around a commit: aborts, replaces the producers, and reads the committed offsets from the
    /// broker.
    fn failed(
        &mut self,
        batch: Batch<Resolved>,
        failure: Failure,
        started: Instant,
    ) -> Result<(), Error> {
        let metrics = self.shared.metrics();
        metrics.aborts.inc();
        metrics.record(Kind::Dropped, batch.results.len() as u64);
        // The broker gives the same error for a transaction that timed out, after the process was frozen, say. Only a
        // young transaction proves that a clone has fenced this process.
        if failure.fenced() && started.elapsed() < self.settings.transaction_timeout * 8 / 10 {
            return Err(self.fenced());
        }
        self.look_for_too_large(&batch, &failure);
        tracing::warn!(error = %failure.error, records = batch.results.len(), "commit failed; starting over from what the broker holds");
        self.abort();
        self.shared.change(Machine::doubted);
        self.shared.lag().doubted();
        self.failures += 1;
        if self.failures > 1 {
            self.pause(self.failures - 1);
        }
        self.recover()
    }

    /// Finds the record whose output or dead letter was refused for its size, by sending one record a request.
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
            self.shared.refused().outputs(place, error);
        } else {
            let left_out = self.shared.refused().dead_letter(place);
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

    /// Makes a call that blocks while the brokers are away. The process stays alive meanwhile: restarting it would not
    /// help.
    fn calling<T>(&self, call: impl FnOnce() -> T) -> T {
        self.shared.status().calling(true);
        let result = call();
        self.shared.status().commit_tick();
        self.shared.status().calling(false);
        result
    }

    fn fenced(&self) -> Error {
        Error::Fenced {
            service: self.spec.service.to_owned(),
            instance: self.settings.instance.clone(),
        }
    }

    /// Makes new producers, which fence the old ones, and then reads the committed offsets from the broker.
    fn recover(&mut self) -> Result<(), Error> {
        self.shared.status().producer_ready(false);
        if !self.producers.is_empty() {
            self.shared.metrics().recycles.inc();
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
            let doubtful = self.shared.machine().doubtful();
            match self.find(&doubtful, claims::LONGEST) {
                Ok(found) => {
                    self.learned(&found);
                    if self.shared.machine().doubtful().is_empty() {
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
        self.shared.status().producer_ready(true);
        Ok(())
    }

    /// A producer that has taken over its transactional id. None where the loop ends before the brokers answer.
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
            self.shared.status().commit_tick();
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

    /// Pauses for a time that doubles with each failure in a row. Returns early where the loop ends.
    fn pause(&self, failures: u32) {
        let nominal = Duration::from_millis(100) * 2u32.saturating_pow(failures.min(8));
        let deadline = Instant::now() + nominal.min(LONGEST_BACKOFF);
        while Instant::now() < deadline && !self.ending() {
            self.shared.status().commit_tick();
            std::thread::sleep(TICK.min(deadline.saturating_duration_since(Instant::now())));
        }
    }
}

/// Errors that do not pass by waiting.
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
