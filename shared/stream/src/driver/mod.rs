//! The loop's threads and tasks, around the [machine](crate::machine) that decides.

mod backlog;
mod claims;
mod committer;
mod consumer;
mod fetched;
mod poller;
mod producer;
mod refused;
mod shared;
mod signal;
mod work;
mod writing;

use crate::{Error, KafkaSettings, LoopSettings, Metrics, Stage, Status};
use clap::Args;
use committer::Committer;
use poller::Poller;
use rdkafka::config::FromClientConfigAndContext as _;
use shared::{Shared, TICK};
use sightline_contracts::Topic;
use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use work::Work;
use writing::Writer;

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
    let Config {
        kafka,
        looping: settings,
    } = config;
    let problems = settings.problems();
    if !problems.is_empty() {
        return Err(Error::Settings(problems.join("; ")));
    }
    let stage = Arc::new(stage);
    let mut running = Running::start(kafka, &settings, spec, stage, metrics, status.clone())?;
    let early = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = running.ended() => Some(ended),
    };
    let result = match early {
        Some(result) => result,
        None => {
            status.draining();
            running.drain(settings.drain_timeout).await
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
        self.shared.kill();
        self.abandon.cancel();
    }
}

impl Running {
    fn start<S: Stage>(
        kafka: KafkaSettings,
        settings: &LoopSettings,
        spec: Spec,
        stage: Arc<S>,
        metrics: Metrics,
        status: Status,
    ) -> Result<Self, Error> {
        status.start();
        let shared = Arc::new(Shared::new(settings, metrics, status));
        let topic = settings.prefixed(spec.input.name());
        let config = consumer::config(&kafka, settings, spec.service)?;
        let context = consumer::Context::new(topic.clone(), Arc::downgrade(&shared));
        let mut consumer = consumer::GroupConsumer::from_config_and_context(&config, context)
            .map_err(|error| Error::Settings(format!("kafka consumer: {error}")))?;
        let signal = shared.poller.clone();
        consumer.set_nonempty_callback(move || signal.wake());
        let consumer = Arc::new(consumer);
        let abandon = CancellationToken::new();
        let tasks = TaskTracker::new();
        let work = Arc::new(Work {
            stage,
            shared: shared.clone(),
            writer: Writer::new(spec.service, settings),
            permits: Semaphore::new(settings.max_concurrent),
            attempt_timeout: settings.attempt_timeout,
            abandon: abandon.clone(),
        });
        let committer = Committer {
            consumer: consumer.clone(),
            shared: shared.clone(),
            kafka,
            settings: settings.clone(),
            spec,
            topic: topic.clone(),
            producers: Vec::new(),
            turn: 0,
            failures: 0,
            batching: consumer::Batching::Several,
            singles: 0,
            claims: claims::Claims::default(),
        };
        let poller = Poller {
            consumer,
            queues: Vec::new(),
            closed: Vec::new(),
            shared: shared.clone(),
            work,
            tasks: tasks.clone(),
            runtime: tokio::runtime::Handle::current(),
            spec,
            instance: settings.instance.clone(),
            topic,
            subscribed: false,
            complained: Cell::new(None),
            measured: Instant::now(),
        };
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
        self.shared.machine().drain();
        self.shared.wake_committer();
        tokio::select! {
            ended = &mut self.committer => ended.unwrap_or(Err(Error::Thread("commit")))?,
            ended = &mut self.poller => return ended.unwrap_or(Err(Error::Thread("poll"))),
            () = deadline => self.late().await?,
        };
        self.shared.finished.store(true, SeqCst);
        self.shared.poller.wake();
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
        self.shared.late.store(true, SeqCst);
        self.shared.wake_committer();
        match tokio::time::timeout(Duration::from_secs(2), &mut self.committer).await {
            Ok(ended) => ended.unwrap_or(Err(Error::Thread("commit"))),
            Err(_) => Ok(()),
        }
    }

    /// Ends what still runs.
    async fn stop(&mut self) {
        self.shared.kill();
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
