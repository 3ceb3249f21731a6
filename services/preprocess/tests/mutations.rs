//! Runs thousands of damaged and hostile files through the stage and its decoder processes. Each file must have an
//! outcome, and the stage must go on.
//!
//! `SIGHTLINE_TEST_MUTATIONS` sets the number of files, `SIGHTLINE_TEST_SEED` the seed of the first. With
//! `SIGHTLINE_TEST_VERDICTS=FOLDER` the files and their outcomes are kept there; `tests/check agreement` compares them
//! with Pillow's.
#![allow(clippy::unwrap_used)]

use futures::{StreamExt as _, stream};
use prometheus_client::{encoding::text, registry::Registry};
use serde_json::json;
use sightline_contracts::{ImageId, ImageRef, TensorMessage, Times, Topic};
use sightline_manifest::{Pixels, Source};
use sightline_preprocess::{ImageSettings, Preprocess};
use sightline_storage::{Memory, Objects as _};
use sightline_stream::{Outcome, Record, Stage as _};
use sightline_testkit::{children, hostile, peak_memory};
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
};

const BUCKET: &str = "photos";
/// Memory for large images, besides each decoder's allowance.
const MEMORY: u64 = 512 << 20;

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_images_end_as_tensors_or_dead_letters() {
    let (count, seed) = (
        number("SIGHTLINE_TEST_MUTATIONS", 3_000),
        number("SIGHTLINE_TEST_SEED", 1),
    );
    let verdicts = env::var("SIGHTLINE_TEST_VERDICTS").ok().map(PathBuf::from);
    let store = Memory::new();
    store.create_bucket(BUCKET).await.unwrap();
    let settings = ImageSettings {
        decode_program: Some(env!("CARGO_BIN_EXE_preprocess").into()),
        decode_threads: NonZero::new(2),
        ..ImageSettings::defaults()
    };
    let mut registry = Registry::default();
    let stage = Preprocess::new(
        Arc::new(store.clone()),
        Source::Bundled.manifest().unwrap().preprocessing,
        &settings,
        MEMORY,
        &mut registry,
    )
    .unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders =
        ["../../shared/vision/tests/fixtures", "../../tests/samples"].map(|f| root.join(f));
    let folders = folders.each_ref().map(PathBuf::as_path);
    let files = hostile::mutations(seed, &folders)
        .unwrap()
        .take(count as usize);
    let (store, stage) = (&store, &stage);
    let outcomes = stream::iter(files.enumerate()).map(async |(number, (what, bytes))| {
        let key = number.to_string();
        let stored = store
            .put(BUCKET, &key, bytes.clone().into(), "image/jpeg")
            .await
            .unwrap();
        let image = ImageRef {
            id: ImageId::new(BUCKET, &key, "1"),
            bucket: BUCKET.into(),
            key: key.clone(),
            version: None,
            etag: Some(stored.etag),
            size: None,
            event_time: None,
            times: Times::default(),
        };
        let record = Record::new(Topic::Images, None, Some(image.to_json().into()));
        let outcome = stage.process(record).await;
        store.delete(BUCKET, &key).await.unwrap();
        (number, what, bytes, outcome)
    });
    let mut outcomes = outcomes.buffer_unordered(8);
    let mut counts = BTreeMap::<String, usize>::new();
    let mut peak = 0;
    let mut log = verdicts.as_deref().map(|folder| {
        fs::create_dir_all(folder).unwrap();
        fs::File::create(folder.join("verdicts.jsonl")).unwrap()
    });
    while let Some((number, what, bytes, outcome)) = outcomes.next().await {
        let (reason, error) = match &outcome {
            Outcome::Done(_) => ("tensor", ""),
            Outcome::Reject(rejection) => (rejection.reason.as_str(), rejection.error.as_str()),
            Outcome::Retry { error, .. } => panic!("{what}: {error}"),
        };
        *counts.entry(reason.to_owned()).or_default() += 1;
        if reason.starts_with("decoder") || reason == "decode-limit" {
            println!("{what}: {reason}: {error}");
        }
        if let (Some(folder), Some(log)) = (&verdicts, &mut log) {
            fs::write(folder.join(format!("{number}.image")), &bytes).unwrap();
            if let Outcome::Done(outputs) = &outcome {
                let message = TensorMessage::decode(outputs[0].value.as_ref().unwrap()).unwrap();
                let Pixels::U8(tensor) = message.pixels else {
                    panic!("u8")
                };
                fs::write(folder.join(format!("{number}.tensor")), tensor).unwrap();
            }
            let line = json!({ "number": number, "what": what, "outcome": reason, "error": error });
            writeln!(log, "{line}").unwrap();
        }
        if number % 50 == 0 {
            peak = peak.max(decoders_peak());
        }
    }
    println!("{count} files from seed {seed}: {counts:?}");
    println!("largest decoder: {} MiB resident at its peak", peak >> 20);
    let mut metrics = String::new();
    text::encode(&mut metrics, &registry).unwrap();
    let deaths = metrics
        .lines()
        .filter(|line| line.contains("decoder_deaths_total{"));
    deaths.for_each(|line| println!("{line}"));
    assert_eq!(counts.values().sum::<usize>() as u64, count);
    let share = |reason: &str| counts.get(reason).copied().unwrap_or(0) as f64 / count as f64;
    assert!(
        share("tensor") > 0.02,
        "some are harmless, or nothing was tested"
    );
    assert!(
        share("corrupt") > 0.1,
        "many are damaged, or nothing was tested"
    );
    assert!(peak < MEMORY + (256 << 20), "{peak}");
}

/// The largest resident memory so far of a process that this one has started.
fn decoders_peak() -> u64 {
    let decoders = children(std::process::id()).into_iter();
    decoders.filter_map(peak_memory).max().unwrap_or(0)
}
