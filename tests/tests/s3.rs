//! The four services with a real S3 server that notifies Apache Kafka. kcat reads the results.
//!
//! Run it with `tests/kafka run -- tests/minio run -- cargo test --workspace --features sightline-e2e/s3 --test s3`, and with
//! `tests/versitygw` in place of `tests/minio`.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use sightline_contracts::ResultEvent;
use sightline_storage::{Objects, StorageSettings, Store};
use sightline_testkit::{
    Bootstrap, eventually_within,
    servers::{Binaries, Services},
};
use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(120);
const KEYS: [&str; 7] = [
    "plain.jpg",
    "with blank.jpg",
    "a+b.jpg",
    "per%2Fcent%20.jpg",
    "a b/ü+1%2F.jpg",
    "日本/é.jpg",
    "q?a=b&c#d.jpg",
];

/// All results by record key, read by kcat.
fn kcat(kafka: &Bootstrap) -> BTreeMap<String, ResultEvent> {
    let output = Command::new("kcat")
        .args(["-C", "-e", "-q", "-b", kafka.as_str(), "-t", "results"])
        .args(["-X", "isolation.level=read_committed", "-f", "%k\t%s\n"])
        .output()
        .expect("kcat is installed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut results = BTreeMap::new();
    for line in text.lines() {
        let (key, json) = line.split_once('\t').unwrap();
        let event = ResultEvent::from_json(json.as_bytes()).unwrap();
        assert!(
            results.insert(key.to_owned(), event).is_none(),
            "{key} came twice"
        );
    }
    results
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_become_results_that_kcat_reads() {
    let kafka = Bootstrap::from_env().expect("SIGHTLINE_TEST_BOOTSTRAP names Apache Kafka");
    // The services find S3 by the AWS variables that the script has set.
    let binaries = Binaries::at(Path::new(env!("CARGO_BIN_EXE_sightline-under-test")));
    let services = Services::start(binaries.unwrap(), &kafka, 3, PATIENCE).unwrap();
    let store = Store::connect(&StorageSettings::default()).await.unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let image = Bytes::from(fs::read(samples.join("bus__0018.jpg")).unwrap());
    for key in KEYS {
        store
            .put("images", key, image.clone(), "image/jpeg")
            .await
            .unwrap();
    }
    let results = eventually_within(PATIENCE, "a result of each object", || {
        Some(kcat(&kafka)).filter(|results| results.len() >= KEYS.len())
    });
    assert_eq!(results.len(), KEYS.len());
    for key in KEYS {
        let event = &results[&format!("images/{key}")];
        assert_eq!(
            (event.image.key.as_str(), &*event.labels[0].label),
            (key, "bus")
        );
        let stored = event.thumbnail.as_ref().unwrap();
        let thumbnail = store.get(&stored.bucket, &stored.key, None, 1 << 20).await;
        assert!(thumbnail.unwrap().bytes.starts_with(b"\x89PNG"));
    }
    drop(services);
}
