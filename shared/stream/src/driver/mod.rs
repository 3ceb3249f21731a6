//! The loop's threads and tasks. The [machine](crate::machine) decides; they carry out:
//!
//! - The poll thread polls the consumer, takes records, and tells the machine what the group decides.
//! - A task for each record runs the stage, and tells the machine what came of it.
//! - The commit thread writes the outputs and offsets that the machine hands it, one transaction at a time.

mod backlog;
mod committer;
mod consumer;
mod fetched;
mod lag;
mod phase;
mod poller;
mod producer;
mod refused;
mod shared;
mod signal;
mod work;
mod writing;

use crate::{Error, KafkaSettings, LoopSettings, Metrics, Stage, Status, machine::Machine};
use clap::Args;
use committer::Committer;
use phase::Phase;
use poller::Poller;
use shared::{Shared, TICK};
use sightline_contracts::Topic;
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use work::Work;

/// What the loop must know of a service.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The service's name: its consumer group, the start of its transactional id, and the stage of its dead letters.
    pub service: &'static str,
    /// The topic that the service reads.
    pub input: Topic,
}

/// The settings of a loop. A service's own settings may flatten them.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The connection to Kafka.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Bounds, commits, retries and timeouts.
    #[command(flatten)]
    pub looping: LoopSettings,
}

impl Config {
    /// A sentence for each setting or combination of settings that can't work.
    pub fn problems(&self) -> Vec<String> {
        [self.kafka.problems(), self.looping.problems()].concat()
    }
}

/// Runs a stage until `shutdown` is cancelled. Then it finishes and commits what is in flight, for `--drain-timeout` at
/// most, and leaves the group. Brokers that can't be reached are waited for, at the start and later.
///
/// Each record's outputs are written exactly once, and for each partition of the input in the order of its offsets,
/// whenever the process or a broker dies. Dropping the future has the effect of killing the process.
///
/// # Errors
/// [`Error::Settings`] at once; [`Error::Fenced`] where another process runs under the same service and instance name;
/// [`Error::Topic`], [`Error::Fatal`], [`Error::Astray`] and [`Error::Thread`] where the loop can't go on.
pub async fn run<S: Stage>(
    stage: S,
    spec: Spec,
    config: Config,
    metrics: Metrics,
    status: Status,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let problems = config.looping.problems();
    if !problems.is_empty() {
        return Err(Error::Settings(problems.join("; ")));
    }
    let drain_timeout = config.looping.drain_timeout;
    let mut running = Running::start(stage, spec, config, metrics, status.clone())?;
    let early = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = running.ended() => Some(ended),
    };
    let result = match early {
        Some(result) => result,
        None => {
            status.draining();
            running.drain(drain_timeout).await
        }
    };
    running.stop().await;
    status.stop();
    result
}

/// The parts of a running loop. When dropped, they stop as if the process had died.
struct Running {
    shared: Arc<Shared>,
    committer: oneshot::Receiver<Result<(), Error>>,
    poller: oneshot::Receiver<Result<(), Error>>,
    tasks: TaskTracker,
    abandon: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.advance(Phase::Killed);
        self.abandon.cancel();
    }
}

impl Running {
    fn start<S: Stage>(
        stage: S,
        spec: Spec,
        config: Config,
        metrics: Metrics,
        status: Status,
    ) -> Result<Self, Error> {
        status.start();
        let Config { kafka, looping } = config;
        let shared = Arc::new(Shared::new(&looping, metrics, status));
        let consumer = consumer::connect(&kafka, &looping, spec, &shared)?;
        let abandon = CancellationToken::new();
        let tasks = TaskTracker::new();
        let work = Work::new(
            stage,
            shared.clone(),
            spec.service,
            &looping,
            abandon.clone(),
        );
        let poller = Poller::new(
            consumer.clone(),
            shared.clone(),
            work,
            tasks.clone(),
            spec,
            &looping,
        );
        let committer = Committer::new(consumer, shared.clone(), spec, kafka, looping);
        Ok(Self {
            committer: thread(spec.service, "commit", move || committer.run())?,
            poller: thread(spec.service, "poll", move || poller.run())?,
            shared,
            tasks,
            abandon,
        })
    }

    /// Waits for a thread to end by itself, which happens only on an error.
    async fn ended(&mut self) -> Result<(), Error> {
        tokio::select! {
            ended = &mut self.committer => ended.unwrap_or(Err(Error::Thread("commit"))),
            ended = &mut self.poller => ended.unwrap_or(Err(Error::Thread("poll"))),
        }
    }

    async fn drain(&mut self, longest: Duration) -> Result<(), Error> {
        let deadline = tokio::time::sleep(longest);
        self.shared.change(Machine::drain);
        tokio::select! {
            ended = &mut self.committer => ended.unwrap_or(Err(Error::Thread("commit")))?,
            ended = &mut self.poller => return ended.unwrap_or(Err(Error::Thread("poll"))),
            () = deadline => self.late().await?,
        };
        self.shared.advance(Phase::Leaving);
        match tokio::time::timeout(Duration::from_secs(8), &mut self.poller).await {
            Ok(ended) => ended.unwrap_or(Err(Error::Thread("poll"))),
            Err(_) => {
                tracing::warn!("could not leave the group in time; it will notice by itself");
                Ok(())
            }
        }
    }

    /// The time to drain is over. A commit that runs may still end.
    async fn late(&mut self) -> Result<(), Error> {
        let records = self.shared.machine().in_flight().records;
        tracing::warn!(
            records,
            "still in flight after the drain timeout; whoever comes next takes them up again"
        );
        self.shared.advance(Phase::Late);
        match tokio::time::timeout(Duration::from_secs(2), &mut self.committer).await {
            Ok(ended) => ended.unwrap_or(Err(Error::Thread("commit"))),
            Err(_) => Ok(()),
        }
    }

    /// Ends what still runs.
    async fn stop(&mut self) {
        self.shared.advance(Phase::Killed);
        self.abandon.cancel();
        self.tasks.close();
        if tokio::time::timeout(TICK * 10, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the stage does not let go of {} records", self.tasks.len());
        }
    }
}

fn thread(
    service: &str,
    what: &'static str,
    body: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let (ended, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("{service}-{what}"))
        .spawn(move || {
            // Where the loop was dropped, nobody receives this.
            drop(ended.send(body()));
        })
        .map_err(|error| Error::Settings(format!("can't start a thread: {error}")))?;
    Ok(receiver)
}
