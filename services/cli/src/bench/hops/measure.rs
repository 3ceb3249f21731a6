//! Measures the loop alone: a chain of stages that only copy records, and the latency from end to end.

use crate::bench::{length, percentile::percentile_ms};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use sightline_contracts::Topic;
use sightline_stream::{
    CancellationToken, Config, KafkaSettings, LoopSettings, Message, Metrics, Outcome, Output,
    Publisher, Reader, Record, Spec, Stage, Start, Status,
    admin::{self, TopicSpec},
};
use std::{
    fmt,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// A service name for each hop. Each hop has its own consumer group, instance and producers.
const SERVICES: [&str; Topic::ALL.len() - 1] = ["hop-1", "hop-2", "hop-3", "hop-4", "hop-5"];
const PARTITIONS: i32 = 3;
/// Records of a run without a rate.
const UNPACED: usize = 4000;
/// Bytes that the publisher has in flight in a run without a rate.
const UNPACED_BYTES: usize = 48 << 20;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Workload {
    /// Records a second; 0 publishes 4000 records as fast as possible
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// Time to publish for; not used with --rate 0
    #[arg(long, alias = "seconds", value_parser = length, value_name = "DURATION", default_value = "20s")]
    pub(crate) duration: Duration,
    /// Bytes of each record
    #[arg(long, default_value_t = 150_000)]
    pub(crate) size: usize,
    /// Number of stages in the chain
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=SERVICES.len() as i64))]
    pub(crate) hops: u8,
}

/// What was measured. A latency is the time from publishing a record until a reader of committed records receives it. With
/// a rate, the first quarter of the records is not counted.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Report {
    pub(crate) hops: u8,
    pub(crate) rate: f64,
    pub(crate) size: usize,
    /// Records that were published.
    pub(crate) sent: usize,
    /// Records that arrived at most a minute after the last one was published; includes the first quarter.
    pub(crate) records: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) per_s: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            hops,
            size,
            ..
        } = self;
        write!(
            f,
            "{records} records of {size} bytes over {hops} hops: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, {:.1} a second",
            self.p50_ms, self.p99_ms, self.max_ms, self.per_s
        )
    }
}

struct PassThrough(Topic);

impl Stage for PassThrough {
    async fn process(&self, record: Record) -> Outcome {
        let value = record.value.unwrap_or_default();
        Outcome::Done(vec![Output::new(self.0, record.key, value)])
    }
}

/// Runs the measurement on its own topics, and deletes them afterwards.
pub(crate) async fn run(
    kafka: &KafkaSettings,
    looping: &LoopSettings,
    workload: &Workload,
) -> anyhow::Result<Report> {
    let prefix = format!(
        "{}hops-{:08x}-",
        looping.topic_prefix,
        rand::random::<u32>()
    );
    let topics = &Topic::ALL[..=usize::from(workload.hops)];
    let specs: Vec<TopicSpec> = topics.iter().map(|topic| spec(*topic, &prefix)).collect();
    admin::create_topics(kafka, &specs).await?;
    let looping = LoopSettings {
        topic_prefix: prefix,
        ..looping.clone()
    };
    let report = measure(kafka, &looping, workload, topics).await;
    let names: Vec<String> = specs.into_iter().map(|spec| spec.name).collect();
    admin::delete_topics(kafka, &names).await?;
    report
}

fn spec(topic: Topic, prefix: &str) -> TopicSpec {
    TopicSpec {
        name: format!("{prefix}{}", topic.name()),
        partitions: PARTITIONS,
        replication: 1,
        config: vec![("max.message.bytes".to_owned(), (8 << 20).to_string())],
    }
}

async fn measure(
    kafka: &KafkaSettings,
    looping: &LoopSettings,
    workload: &Workload,
    topics: &[Topic],
) -> anyhow::Result<Report> {
    let shutdown = CancellationToken::new();
    let mut stages = JoinSet::new();
    let statuses = start_stages(kafka, looping, topics, &shutdown, &mut stages);
    let first = looping.prefixed(topics[0].name());
    let last = looping.prefixed(topics[topics.len() - 1].name());
    let expected = match workload.rate {
        rate if rate > 0.0 => (rate * workload.duration.as_secs_f64()) as usize,
        _ => UNPACED,
    };
    let reader = Reader::open(kafka, &last, Start::Beginning)?;
    wait_until_joined(kafka, looping, &statuses, &mut stages, topics).await?;
    let longest = workload.duration + Duration::from_secs(60);
    let (go, started) = mpsc::sync_channel(1);
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(
        kafka.clone(),
        first,
        workload.clone(),
        expected,
        go,
    ));
    let seen =
        tokio::task::spawn_blocking(move || observe(reader, expected, longest, &started)).await;
    publishing.shutdown().await;
    shutdown.cancel();
    while let Some(ended) = stages.join_next().await {
        ended.context("a stage panicked")??;
    }
    let (latencies, elapsed) = seen.context("the reader panicked")??;
    Ok(report(workload, expected, latencies, elapsed))
}

fn start_stages(
    kafka: &KafkaSettings,
    looping: &LoopSettings,
    topics: &[Topic],
    shutdown: &CancellationToken,
    stages: &mut JoinSet<Result<(), sightline_stream::Error>>,
) -> Vec<Status> {
    let hops = topics.windows(2).zip(SERVICES);
    hops.map(|(hop, service)| {
        let status = Status::new();
        stages.spawn(sightline_stream::run(
            PassThrough(hop[1]),
            Spec {
                service,
                input: hop[0],
            },
            Config {
                kafka: kafka.clone(),
                looping: looping.clone(),
            },
            Metrics::unregistered(),
            status.clone(),
            shutdown.clone(),
        ));
        status
    })
    .collect()
}

/// Waits until every stage is ready, then sends one record a partition through the whole chain, so that all consumer
/// groups have their assignments.
async fn wait_until_joined(
    kafka: &KafkaSettings,
    looping: &LoopSettings,
    statuses: &[Status],
    stages: &mut JoinSet<Result<(), sightline_stream::Error>>,
    topics: &[Topic],
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !statuses.iter().all(Status::ready) && Instant::now() < deadline {
        if let Some(ended) = stages.try_join_next() {
            ended.context("a stage panicked")??;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = looping.prefixed(topics[topics.len() - 1].name());
    let mut reader = Reader::open(kafka, &last, Start::Beginning)?;
    let publisher = Publisher::new(kafka)?;
    let first = looping.prefixed(topics[0].name());
    for partition in 0..PARTITIONS {
        let mut message = Message::new(first.clone(), "warm-up", "");
        message.partition = Some(partition);
        publisher.send(&message).await?;
    }
    let warmed_up = tokio::task::spawn_blocking(move || {
        for _ in 0..PARTITIONS {
            if reader.next(Duration::from_secs(60))?.is_none() {
                bail!("a record did not pass through the stages within a minute");
            }
        }
        Ok(())
    });
    warmed_up.await.context("the reader panicked")?
}

async fn publish(
    kafka: KafkaSettings,
    topic: String,
    workload: Workload,
    count: usize,
    go: mpsc::SyncSender<Instant>,
) -> anyhow::Result<()> {
    let properties: &[&str] = if workload.rate > 0.0 {
        &[]
    } else {
        &["linger.ms=5", "batch.size=500000"]
    };
    let publisher = Arc::new(Publisher::new(&tuned(kafka, properties))?);
    let body = Bytes::from_iter((0..workload.size).map(|_| rand::random::<u8>()));
    let start = tokio::time::Instant::now();
    // The receiver is dropped only after the observer has given up.
    go.send(start.into_std()).ok();
    // Enough records in flight to keep the brokers busy.
    let window = (UNPACED_BYTES / workload.size.max(1)).clamp(12, 2000);
    let mut sends = JoinSet::new();
    for number in 0..count {
        if workload.rate > 0.0 {
            let at = Duration::from_secs_f64(number as f64 / workload.rate);
            tokio::time::sleep_until(start + at).await;
        } else if sends.len() >= window {
            sends.join_next().await;
        }
        let key = format!("{number}|{}", start.elapsed().as_micros());
        let message = Message::new(topic.clone(), key, body.clone());
        let publisher = publisher.clone();
        sends.spawn(async move { publisher.send(&message).await });
    }
    while let Some(sent) = sends.join_next().await {
        sent.context("the publisher panicked")??;
    }
    Ok(())
}

/// Adds properties. The user's own properties come later and override them.
fn tuned(mut kafka: KafkaSettings, properties: &[&str]) -> KafkaSettings {
    let properties = properties.iter().filter_map(|text| text.parse().ok());
    kafka.property.splice(0..0, properties);
    kafka
}

/// Reads until all records have arrived. Returns the latency of each, in the order of arrival, and the total time.
fn observe(
    mut reader: Reader,
    expected: usize,
    longest: Duration,
    started: &mpsc::Receiver<Instant>,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let start = started
        .recv_timeout(Duration::from_secs(30))
        .context("the publisher did not start")?;
    let mut latencies = Vec::with_capacity(expected);
    let mut elapsed = Duration::ZERO;
    while latencies.len() < expected && start.elapsed() < longest {
        let Some(record) = reader.next(Duration::from_millis(100))? else {
            continue;
        };
        let key = record.key.unwrap_or_default();
        let sent = std::str::from_utf8(&key)
            .ok()
            .and_then(|key| key.split_once('|')?.1.parse().ok())
            .map(Duration::from_micros);
        if let Some(sent) = sent {
            elapsed = start.elapsed();
            latencies.push(elapsed.saturating_sub(sent));
        }
    }
    Ok((latencies, elapsed))
}

fn report(
    workload: &Workload,
    sent: usize,
    mut latencies: Vec<Duration>,
    elapsed: Duration,
) -> Report {
    let records = latencies.len();
    if workload.rate > 0.0 {
        latencies.drain(..records / 4);
    }
    latencies.sort_unstable();
    let ms = |share| percentile_ms(&latencies, share);
    Report {
        hops: workload.hops,
        rate: workload.rate,
        size: workload.size,
        sent,
        records,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        max_ms: ms(1.0),
        per_s: (records as f64 / elapsed.as_secs_f64().max(1e-9) * 10.0).round() / 10.0,
    }
}
