//! The loop's threads and tasks, around the [machine](crate::machine) that decides.

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

/// What a service is to the loop.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The service's name: its consumer group, the start of its transactional id, and the stage of its dead letters.
    pub service: &'static str,
    pub input: Topic,
}

/// How the loop reaches Kafka and how it works.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub kafka: KafkaSettings,
    #[command(flatten)]
    pub looping: LoopSettings,
}

impl Config {
    /// A sentence for each setting or combination of settings that can't work.
    pub fn problems(&self) -> Vec<String> {
        [self.kafka.problems(), self.looping.problems()].concat()
    }
}

/// Runs a stage until `shutdown` is cancelled, then drains: what is in flight is finished and committed, the group
/// left. Waits for brokers that are not there yet. Dropping the future is like killing the process.
///
/// # Errors
/// [`Error::Settings`] at once; [`Error::Fenced`] when another process runs under the same name;
/// [`Error::Topic`] and [`Error::Fatal`] where waiting does not help.
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

/// The parts of a running loop; dropped, they stop as if the process died.
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

    /// Waits for a thread to end by itself, which it does only on an error.
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

    /// The time to drain is over; what is finished may still be committed.
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
            // Nobody listens where the loop was dropped.
            drop(ended.send(body()));
        })
        .map_err(|error| Error::Settings(format!("can't start a thread: {error}")))?;
    Ok(receiver)
}
