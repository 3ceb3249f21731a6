//! Instances in processes of their own, which can die: the test binary, started again.

use crate::{pass_on, support::*};
use sightline_contracts::Topic;
use sightline_stream::{
    CancellationToken, Config, KafkaSettings, LoopSettings, Metrics, Outcome, Record, Spec, Status,
};
use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

const BOOTSTRAP: &str = "SIGHTLINE_TEST_PROCESS_BOOTSTRAP";
const PREFIX: &str = "SIGHTLINE_TEST_PROCESS_PREFIX";
const INSTANCE: &str = "SIGHTLINE_TEST_PROCESS_INSTANCE";
const KILLER: &str = "SIGHTLINE_TEST_PROCESS_KILLER";

/// A process that is killed when it is dropped.
pub struct Process(Child);

impl Process {
    /// Starts an instance that passes records on and dies of the one whose number is `killer`.
    pub fn start(cluster: &Cluster, instance: &str, killer: Option<u32>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "crashes::process::instance"])
            .args(["--ignored", "--nocapture"])
            .env(BOOTSTRAP, &cluster.kafka.bootstrap)
            .env(PREFIX, &cluster.prefix)
            .env(INSTANCE, instance)
            .env(KILLER, killer.map_or(String::new(), |n| n.to_string()))
            .stdout(Stdio::null())
            .kill_on_drop(true);
        Self(command.spawn().unwrap())
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) {
        let pid = self.0.id().unwrap().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.await.unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(40), self.0.wait());
        let status = ended.await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Every eleventh record fails the first time, and one kills.
async fn process(record: Record, killer: Option<u32>) -> Outcome {
    let number = number(&record);
    if killer == Some(number) {
        std::process::abort();
    }
    tokio::time::sleep(Duration::from_millis(1 + u64::from(number % 7))).await;
    if number.is_multiple_of(11) && record.attempt == 1 {
        Outcome::retry("works the second time")
    } else {
        pass_on(record)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: a process that tests start"]
async fn instance() {
    let Ok(bootstrap) = std::env::var(BOOTSTRAP) else {
        return;
    };
    log();
    let settings = LoopSettings {
        instance: std::env::var(INSTANCE).unwrap(),
        max_in_flight_records: 30,
        ..settings(&std::env::var(PREFIX).unwrap())
    };
    let killer = std::env::var(KILLER).unwrap().parse().ok();
    let shutdown = CancellationToken::new();
    let running = sightline_stream::run(
        Do(move |record| process(record, killer)),
        Spec {
            service: "test",
            input: Topic::Ingest,
        },
        Config {
            kafka: KafkaSettings::at(bootstrap),
            looping: settings,
        },
        Metrics::unregistered(),
        Status::new(),
        shutdown.clone(),
    );
    tokio::pin!(running);
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        ended = &mut running => return ended.unwrap(),
        _ = terminate.recv() => shutdown.cancel(),
    }
    running.await.unwrap();
}
