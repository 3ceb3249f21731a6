//! Measures what decoding in separate processes costs: microseconds an image and megabytes a process.
//!
//! `cargo run --release -p sightline-preprocess --example isolation -- FILES…` processes the files one at a time,
//! alternately with decoding in a thread and in a process, and prints the medians of the rounds.

use sightline_contracts::{ImageId, ImageRef, Times, Topic};
use sightline_manifest::Source;
use sightline_preprocess::{ImageSettings, Isolation, Preprocess, decode_if_asked};
use sightline_storage::{Memory, Objects as _};
use sightline_stream::{Outcome, Record, Stage as _};
use sightline_testkit::children;
use std::{env, fs, num::NonZero, process::ExitCode, sync::Arc, time::Instant};

const ROUNDS: usize = 15;
const BUCKET: &str = "bench";

fn main() -> anyhow::Result<ExitCode> {
    if let Some(status) = decode_if_asked() {
        return Ok(status);
    }
    let files: Vec<String> = env::args().skip(1).collect();
    anyhow::ensure!(!files.is_empty(), "name at least one image");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(compare(&files))?;
    Ok(ExitCode::SUCCESS)
}

async fn compare(files: &[String]) -> anyhow::Result<()> {
    let store = Memory::new();
    store.create_bucket(BUCKET).await?;
    let mut records = Vec::new();
    for file in files {
        let stored = store
            .put(BUCKET, file, fs::read(file)?.into(), "image/jpeg")
            .await?;
        let image = ImageRef {
            id: ImageId::new(BUCKET, file, "1"),
            bucket: BUCKET.into(),
            key: file.clone(),
            version: None,
            etag: Some(stored.etag),
            size: None,
            event_time: None,
            times: Times::default(),
        };
        records.push(Record::new(
            Topic::Images,
            None,
            Some(image.to_json().into()),
        ));
    }
    let mut stages = Vec::new();
    for decode_isolation in [Isolation::Thread, Isolation::Process] {
        let settings = ImageSettings {
            decode_isolation,
            decode_threads: Some(NonZero::<usize>::MIN),
            ..ImageSettings::defaults()
        };
        let began = Instant::now();
        let mut registry = prometheus_client::registry::Registry::default();
        let stage = Preprocess::new(
            Arc::new(store.clone()),
            Source::Bundled.manifest()?.preprocessing,
            &settings,
            1 << 30,
            &mut registry,
        )?;
        println!("{decode_isolation:?}: ready after {:.1?}", began.elapsed());
        stages.push((decode_isolation, stage, Vec::new()));
    }
    for round in 0..=ROUNDS {
        for (_, stage, times) in &mut stages {
            let began = Instant::now();
            for record in &records {
                let outcome = stage.process(record.clone()).await;
                anyhow::ensure!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
            }
            // The first round warms up.
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() * 1e6 / records.len() as f64);
            }
        }
    }
    for (isolation, _, times) in &mut stages {
        times.sort_by(f64::total_cmp);
        println!(
            "{isolation:?}: {:.0} µs an image ({:.0} to {:.0})",
            times[ROUNDS / 2],
            times[0],
            times[ROUNDS - 1]
        );
    }
    let (thread, process) = (stages[0].2[ROUNDS / 2], stages[1].2[ROUNDS / 2]);
    println!(
        "a process costs {:.0} µs an image, {:.1} %",
        process - thread,
        100.0 * (process - thread) / thread
    );
    memory()
}

/// Prints each decoder's resident memory, and how much of it is not shared with another process.
fn memory() -> anyhow::Result<()> {
    for pid in children(std::process::id()) {
        let status = procfs::process::Process::new(pid.try_into()?)?.status()?;
        let mib = |kib: Option<u64>| kib.unwrap_or(0) as f64 / 1024.0;
        println!(
            "process {pid}: {:.1} MiB resident, {:.1} of it its own, {:.1} at most",
            mib(status.vmrss),
            mib(status.rssanon),
            mib(status.vmhwm)
        );
    }
    Ok(())
}
