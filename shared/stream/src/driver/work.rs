//! The task of one record: attempts at it, until it is resolved.

use super::{
    shared::Shared,
    writing::{Resolved, Writer},
};
use crate::{
    LoopSettings, Outcome, Output, Record, Rejection, Stage,
    machine::{Failed, Manner, Sign, Ticket},
    metrics::Kind,
};
use futures::FutureExt as _;
use sightline_contracts::Reason;
use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{RwLock, RwLockWriteGuard, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The largest output that is sent. Brokers and topics usually have lower limits, which are handled when they refuse.
pub(crate) const LARGEST_OUTPUT: usize = 64 << 20;

/// Held shared by each attempt, and exclusively by a record that runs alone, until the broker holds the mark that it no
/// longer runs. There is one for all loops of the process, since they die together. It is fair: a record that waits for
/// exclusive access is not overtaken.
static BESIDE_OTHERS: RwLock<()> = RwLock::const_new(());

/// What a record that runs alone holds.
type Alone = RwLockWriteGuard<'static, ()>;

pub(crate) struct Work<S> {
    stage: S,
    shared: Arc<Shared>,
    writer: Writer,
    permits: Semaphore,
    attempt_timeout: Duration,
    /// Cancelled when the loop ends: what still runs is dropped.
    abandon: CancellationToken,
}

/// Returns the ticket where the task ends before the record is resolved.
struct Held<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.change(|machine| machine.forgotten(ticket));
        }
    }
}

impl<S: Stage> Work<S> {
    pub fn new(
        stage: S,
        shared: Arc<Shared>,
        service: &'static str,
        settings: &LoopSettings,
        abandon: CancellationToken,
    ) -> Self {
        Self {
            stage,
            shared,
            writer: Writer::new(service, settings),
            permits: Semaphore::new(settings.max_concurrent),
            attempt_timeout: settings.attempt_timeout,
            abandon,
        }
    }

    /// Works on a record until it is resolved or no longer ours.
    pub async fn run(self: Arc<Self>, ticket: Ticket, record: Record, received: Instant) {
        let mut held = Held {
            shared: &self.shared,
            ticket: Some(ticket),
        };
        let work = self.until_resolved(&mut held, ticket, record, received);
        tokio::select! {
            // Biased: once the loop has ended, no result of the same moment may be recorded.
            biased;
            () = self.abandon.cancelled() => {}
            () = work => {}
        }
    }

    async fn until_resolved(
        &self,
        held: &mut Held<'_>,
        ticket: Ticket,
        mut record: Record,
        received: Instant,
    ) {
        let mut alone = None;
        loop {
            let refused = self.shared.refused().of(record.place()).outputs;
            let outcome = match (refused, ticket.manner) {
                (Some(error), _) => Outcome::reject(Reason::TooLarge, error),
                (None, Manner::Together) => self.beside_others(&record).await,
                (None, Manner::Alone) => match self.alone(ticket, &record, &mut alone).await {
                    Some(outcome) => outcome,
                    None => return self.shared.metrics().record(Kind::Dropped, 1),
                },
                (None, Manner::Crashed { died }) => {
                    record.attempt = died;
                    let error = format!(
                        "{died} processes died while they worked on this record, and on nothing beside it"
                    );
                    Outcome::reject(Reason::Crashed, error)
                }
            };
            let (resolved, sign) = match outcome {
                Outcome::Done(outputs) => self.done(&record, outputs, received),
                Outcome::Reject(why) => self.rejected(&record, &why, received),
                Outcome::Retry { after, error } => {
                    match self.failed(ticket, &record, after, &error) {
                        Failed::Again { after, counts } => {
                            if let Some(alone) = alone.take() {
                                self.until_marked(ticket, alone).await;
                            }
                            tokio::time::sleep(after).await;
                            record.attempt += u32::from(counts);
                            continue;
                        }
                        Failed::Stale => {
                            held.ticket = None;
                            self.shared.metrics().record(Kind::Dropped, 1);
                            return;
                        }
                        Failed::Exhausted => {
                            let error = format!(
                                "gave up after {} attempts; the last: {error}",
                                record.attempt
                            );
                            let reason = Reason::Exhausted;
                            self.rejected(&record, &Rejection { reason, error }, received)
                        }
                    }
                }
            };
            held.ticket = None;
            self.resolve(ticket, resolved, sign);
            if let Some(alone) = alone {
                self.until_marked(ticket, alone).await;
            }
            return;
        }
    }

    /// An attempt that runs concurrently with others.
    async fn beside_others(&self, record: &Record) -> Outcome {
        let Ok(_permit) = self.permits.acquire().await else {
            return Outcome::retry("the loop is closing");
        };
        let _beside_others = BESIDE_OTHERS.read().await;
        self.attempt(record).await
    }

    /// An attempt that runs while nothing else does in this process, after the broker holds its mark. None where the
    /// record is no longer ours.
    async fn alone(
        &self,
        ticket: Ticket,
        record: &Record,
        alone: &mut Option<Alone>,
    ) -> Option<Outcome> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Some(Outcome::retry("the loop is closing"));
        };
        // Only now, since a record that waits can't be the cause of a death.
        *alone = Some(BESIDE_OTHERS.write().await);
        self.shared.change(|machine| machine.execute(ticket));
        if !self.shared.marked(ticket).await {
            return None;
        }
        {
            let _entered = record.span.enter();
            tracing::info!("running a record with nothing beside it");
        }
        Some(self.attempt(record).await)
    }

    /// Keeps others from running until the broker holds the mark that the record no longer runs.
    async fn until_marked(&self, ticket: Ticket, alone: Alone) {
        self.shared.marked(ticket).await;
        drop(alone);
    }

    /// One attempt, with a time limit. Panics are caught.
    async fn attempt(&self, record: &Record) -> Outcome {
        let started = Instant::now();
        let outcome = within(self.attempt_timeout, &self.stage, record.again()).await;
        self.shared.metrics().attempt(started.elapsed());
        outcome
    }

    fn done(&self, record: &Record, outputs: Vec<Output>, received: Instant) -> (Resolved, Sign) {
        match outputs.iter().find(|o| o.size() > LARGEST_OUTPUT) {
            None => (self.writer.done(record, outputs, received), Sign::Good),
            Some(output) => {
                let error = format!(
                    "the output for {} has {} bytes, more than any broker takes",
                    output.topic,
                    output.size()
                );
                let reason = Reason::TooLarge;
                self.rejected(record, &Rejection { reason, error }, received)
            }
        }
    }

    fn rejected(&self, record: &Record, why: &Rejection, received: Instant) -> (Resolved, Sign) {
        let _entered = record.span.enter();
        tracing::warn!(reason = %why.reason, error = %why.error, attempts = record.attempt, "dead letter");
        // These reasons are failures of the service or its surroundings; the others are errors of the record.
        let sign = match why.reason {
            Reason::Internal | Reason::AccessDenied => Sign::Bad,
            _ => Sign::Neutral,
        };
        let left_out = self.shared.refused().of(record.place()).left_out;
        let letter = self.writer.dead_letter(record, why, left_out, received);
        (letter, sign)
    }

    fn failed(
        &self,
        ticket: Ticket,
        record: &Record,
        after: Option<Duration>,
        error: &str,
    ) -> Failed {
        let now = self.shared.now();
        let (attempt, jitter) = (record.attempt, rand::random());
        let failed = self
            .shared
            .change(|machine| machine.failed(ticket, attempt, after, now, jitter));
        if let Failed::Again { after, .. } = failed {
            self.shared.metrics().record(Kind::Retried, 1);
            let _entered = record.span.enter();
            tracing::debug!(error, attempt = record.attempt, pause = ?after, "trying again");
        }
        failed
    }

    fn resolve(&self, ticket: Ticket, resolved: Resolved, sign: Sign) {
        let now = self.shared.now();
        let bytes = resolved.size();
        let kept = self
            .shared
            .change(|machine| machine.resolved(ticket, resolved, bytes, sign, now));
        if !kept {
            self.shared.metrics().record(Kind::Dropped, 1);
        }
    }
}

/// The stage's outcome, or a rejection where it works for longer than `longest`. Time that it waits does not count.
async fn within<S: Stage>(longest: Duration, stage: &S, record: Record) -> Outcome {
    let (clock, span) = (record.clock.clone(), record.span.clone());
    let attempt = async { stage.process(record).await };
    let caught = AssertUnwindSafe(attempt).catch_unwind().instrument(span);
    tokio::select! {
        // Biased: an outcome that is ready counts, however late.
        biased;
        ended = caught => ended.unwrap_or_else(|panic| {
            let error = format!("the stage panicked: {}", panic_text(&*panic));
            Outcome::reject(Reason::Internal, error)
        }),
        () = clock.worked(longest) => {
            let error = format!("the stage did not finish within {longest:?}");
            Outcome::reject(Reason::Internal, error)
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_contracts::Topic;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// Waits for so many seconds, then works for so many.
    struct Busy {
        waits: u32,
        works: u32,
    }

    impl Stage for Busy {
        async fn process(&self, record: Record) -> Outcome {
            record.waiting(sleep(self.waits * SECOND)).await;
            sleep(self.works * SECOND).await;
            Outcome::Done(Vec::new())
        }
    }

    async fn outcome(stage: Busy) -> Outcome {
        let record = Record::new(Topic::Ingest, None, None);
        within(120 * SECOND, &stage, record.again()).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_queues_for_ten_minutes_and_works_for_a_second_is_done() {
        let stage = Busy {
            waits: 600,
            works: 1,
        };
        assert!(matches!(outcome(stage).await, Outcome::Done(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_works_for_longer_than_an_attempt_may_take_is_rejected() {
        let stage = Busy {
            waits: 0,
            works: 180,
        };
        let rejected = outcome(stage).await;
        assert!(
            matches!(&rejected, Outcome::Reject(why) if why.reason == Reason::Internal && why.error.contains("120s")),
            "{rejected:?}"
        );
    }
}
