//! `sightline bench pipeline` measures a running pipeline, from an object in S3 to its result, at a steady rate.

use crate::{
    answers::{Answer, Answers},
    bench::{length, percentile::percentile_ms},
    files,
    output::line,
};
use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use sightline_contracts::{ResultEvent, now_ms};
use sightline_storage::{Objects, StorageSettings, Store};
use sightline_stream::{KafkaSettings, Start};
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// The longest wait for the next result.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct BenchPipeline {
    /// Images to put, repeated in order: files, and folders of files
    #[arg(required = true, value_name = "FILE|FOLDER")]
    images: Vec<PathBuf>,
    /// Images a second
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Time to put images for
    #[arg(long, alias = "seconds", value_parser = length, value_name = "DURATION", default_value = "30s")]
    duration: Duration,
    /// Bucket whose notifications arrive in the topic `ingest`
    #[arg(long, env = "SIGHTLINE_BUCKET", default_value = "images")]
    bucket: String,
    /// Prefix of every topic's name
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    /// Print one JSON object instead of sentences
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    kafka: KafkaSettings,
    #[command(flatten, next_help_heading = "S3")]
    storage: StorageSettings,
}

/// What was measured. A latency is the time from the notification's timestamp in `ingest` until the result is read. The
/// first quarter of the results is not counted.
#[derive(Debug, Serialize)]
struct Report {
    rate: f64,
    images: usize,
    results: usize,
    dead_letters: usize,
    twice: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    per_s: f64,
    /// Medians of the time from the previous hop to this one, in milliseconds.
    p50_ingest_ms: f64,
    p50_preprocess_ms: f64,
    p50_infer_ms: f64,
    p50_postprocess_ms: f64,
    p50_visible_ms: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} images at {}/s: {} results, {} dead letters, {} twice, {:.1} a second",
            self.images, self.rate, self.results, self.dead_letters, self.twice, self.per_s
        )?;
        writeln!(
            f,
            "notification to visible result: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
            self.p50_ms, self.p99_ms, self.max_ms
        )?;
        write!(
            f,
            "median by hop: ingest {:.0} ms, preprocess {:.0}, infer {:.0}, postprocess {:.0}, visible {:.0}",
            self.p50_ingest_ms,
            self.p50_preprocess_ms,
            self.p50_infer_ms,
            self.p50_postprocess_ms,
            self.p50_visible_ms
        )
    }
}

impl BenchPipeline {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        ensure!(self.rate > 0.0, "--rate: more than 0");
        let images = self.load()?;
        let store = Store::connect(&self.storage).await?;
        // Opened before the first image is put, so that only new answers are read.
        let mut answers = Answers::read(&self.kafka, &self.topic_prefix, &Start::End)?;
        let run = format!("bench-{:x}", now_ms());
        let count = (self.rate * self.duration.as_secs_f64()).ceil() as usize;
        let keys: Vec<String> = (0..count)
            .map(|number| format!("{run}/{number:06}-{}", images[number % images.len()].0))
            .collect();
        let mut putting = JoinSet::new();
        putting.spawn(put(
            store.clone(),
            self.bucket.clone(),
            self.rate,
            keys.clone(),
            images,
        ));
        let mut seen = Seen::new(&keys, &self.bucket);
        let bar = ProgressBar::new(count as u64);
        while seen.missing > 0 {
            tokio::select! {
                answer = answers.next() => {
                    let (key, answer) = answer?;
                    seen.note(&key, answer);
                    bar.set_position((count - seen.missing) as u64);
                }
                ended = putting.join_next(), if !putting.is_empty() => {
                    ended.context("putting ended")???;
                }
                () = tokio::time::sleep(PATIENCE) => break,
            }
        }
        bar.finish_and_clear();
        let report = seen.report(self.rate);
        clean_up(&store, &self.bucket, &keys, &seen.thumbnails).await;
        if self.json {
            line(serde_json::to_string(&report)?);
        } else {
            line(&report);
        }
        ensure!(
            seen.missing == 0,
            "{} images had no answer within {PATIENCE:?} after the last one",
            seen.missing
        );
        Ok(())
    }

    /// The images' names and contents.
    fn load(&self) -> anyhow::Result<Vec<(String, Bytes)>> {
        let mut files = Vec::new();
        for path in &self.images {
            files::walk(path, &mut files)
                .with_context(|| format!("can't read {}", path.display()))?;
        }
        files.sort();
        ensure!(!files.is_empty(), "no files to put");
        files.iter().map(|file| load(file)).collect()
    }
}

fn load(file: &Path) -> anyhow::Result<(String, Bytes)> {
    let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok((name.into_owned(), bytes.into()))
}

/// Puts the images at the given rate, without waiting for earlier puts.
async fn put(
    store: Store,
    bucket: String,
    rate: f64,
    keys: Vec<String>,
    images: Vec<(String, Bytes)>,
) -> anyhow::Result<()> {
    let start = tokio::time::Instant::now();
    let mut puts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for (number, key) in keys.into_iter().enumerate() {
        tokio::time::sleep_until(start + Duration::from_secs_f64(number as f64 / rate)).await;
        let bytes = images[number % images.len()].1.clone();
        let (store, bucket) = (store.clone(), bucket.clone());
        puts.spawn(async move {
            let put = store.put(&bucket, &key, bytes, "application/octet-stream");
            put.await
                .with_context(|| format!("can't put s3://{bucket}/{key}"))?;
            Ok(())
        });
        while let Some(ended) = puts.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = puts.join_next().await {
        ended??;
    }
    Ok(())
}

/// The answers so far.
struct Seen {
    start: Instant,
    end: Instant,
    /// By record key: whether there is an answer.
    answered: BTreeMap<String, bool>,
    missing: usize,
    dead: usize,
    twice: usize,
    /// Milliseconds of each hop, in the order of the answers.
    hops: Vec<[i64; 5]>,
    thumbnails: Vec<String>,
}

impl Seen {
    fn new(keys: &[String], bucket: &str) -> Self {
        let record_key = |key: &String| (format!("{bucket}/{key}"), false);
        Self {
            start: Instant::now(),
            end: Instant::now(),
            answered: keys.iter().map(record_key).collect(),
            missing: keys.len(),
            dead: 0,
            twice: 0,
            hops: Vec::with_capacity(keys.len()),
            thumbnails: Vec::new(),
        }
    }

    fn note(&mut self, key: &str, answer: Answer) {
        let now = now_ms();
        let Some(answered) = self.answered.get_mut(key) else {
            return;
        };
        if std::mem::replace(answered, true) {
            self.twice += 1;
            return;
        }
        self.missing -= 1;
        self.end = Instant::now();
        match answer {
            Answer::Failed(_) => self.dead += 1,
            Answer::Classified { event, .. } => {
                self.hops.push(hops_of(&event, now));
                self.thumbnails
                    .extend(event.thumbnail.map(|thumbnail| thumbnail.key));
            }
        }
    }

    fn report(&self, rate: f64) -> Report {
        let steady = &self.hops[self.hops.len() / 4..];
        let ms = |of: &dyn Fn(&[i64; 5]) -> i64, share| {
            let mut all: Vec<Duration> = steady
                .iter()
                .map(|hops| Duration::from_millis(of(hops).max(0) as u64))
                .collect();
            all.sort_unstable();
            percentile_ms(&all, share)
        };
        let whole = |share| ms(&|hops| hops.iter().sum(), share);
        let hop = |number: usize| ms(&move |hops| hops[number], 0.5);
        let seconds = (self.end - self.start).as_secs_f64().max(1e-9);
        Report {
            rate,
            images: self.answered.len(),
            results: self.hops.len(),
            dead_letters: self.dead,
            twice: self.twice,
            p50_ms: whole(0.5),
            p99_ms: whole(0.99),
            max_ms: whole(1.0),
            per_s: ((self.answered.len() - self.missing) as f64 / seconds * 10.0).round() / 10.0,
            p50_ingest_ms: hop(0),
            p50_preprocess_ms: hop(1),
            p50_infer_ms: hop(2),
            p50_postprocess_ms: hop(3),
            p50_visible_ms: hop(4),
        }
    }
}

/// The time between each stage and the next, and between the last stage and now, in milliseconds.
fn hops_of(event: &ResultEvent, now: i64) -> [i64; 5] {
    let times = &event.image.times;
    let mut last = times.notified_ms;
    [
        times.ingested_ms,
        times.preprocessed_ms,
        times.inferred_ms,
        times.postprocessed_ms,
        Some(now),
    ]
    .map(|time| {
        let time = time.unwrap_or(last);
        let took = time - last;
        last = time;
        took
    })
}

/// Deletes the images and thumbnails. Stops with a message at the first that can't be deleted.
async fn clean_up(store: &Store, bucket: &str, keys: &[String], thumbnails: &[String]) {
    for key in keys.iter().chain(thumbnails) {
        if let Err(error) = store.delete(bucket, key).await {
            eprintln!("s3://{bucket}/{key} stays: {error}");
            return;
        }
    }
}
