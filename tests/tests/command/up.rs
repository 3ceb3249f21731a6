//! `sightline up`: an object that is put has a result. After repeated `kill -9`, each image has exactly one result.

use crate::{sightline, tests};
use bytes::Bytes;
use sightline_contracts::{ResultEvent, Topic};
use sightline_storage::{Credentials, Error as StorageError, Objects, StorageSettings, Store};
use sightline_stream::{KafkaSettings, Reader, Start};
use sightline_testkit::{Process, await_port, free_port};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);

/// A pipeline in its own folder and on its own ports.
struct Up {
    data: tempfile::TempDir,
    kafka: String,
    s3: String,
    http: String,
}

impl Up {
    fn new() -> Self {
        let address = || format!("127.0.0.1:{}", free_port().unwrap());
        Self {
            data: tempfile::tempdir().unwrap(),
            kafka: address(),
            s3: address(),
            http: address(),
        }
    }

    fn start(&self) -> Process {
        let mut command = sightline();
        command
            .args(["--log", "warn", "up", "--data"])
            .arg(self.data.path());
        command.args([
            "--kafka-listen",
            &self.kafka,
            "--s3-listen",
            &self.s3,
            "--http-listen",
            &self.http,
        ]);
        let process = Process::start(&mut command).unwrap();
        await_port(&self.s3, PATIENCE);
        process
    }

    async fn store(&self) -> Store {
        let settings = StorageSettings {
            s3_endpoint: Some(format!("http://{}", self.s3)),
            credentials: Some(Credentials {
                access_key: "sightline".into(),
                secret_key: "sightline".into(),
            }),
            s3_attempts: 1,
            ..StorageSettings::default()
        };
        Store::connect(&settings).await.unwrap()
    }

    /// Waits until `expected` keys have results. Returns all results by key.
    fn results(&self, expected: usize) -> BTreeMap<String, Vec<ResultEvent>> {
        let kafka = KafkaSettings::at(&self.kafka);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut found: BTreeMap<String, Vec<ResultEvent>> = BTreeMap::new();
            let mut reader = Reader::open(&kafka, Topic::Results.name(), Start::Beginning).unwrap();
            while let Some(record) = reader.next_before_end(PATIENCE).unwrap() {
                let event = ResultEvent::from_json(record.value.as_deref().unwrap()).unwrap();
                found
                    .entry(event.image.key.clone())
                    .or_default()
                    .push(event);
            }
            if found.len() >= expected {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {expected} results",
                found.len()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn sample(name: &str) -> Bytes {
    fs::read(tests("samples").join(name)).unwrap().into()
}

/// Puts an object. After an error it asks until the store says whether the object exists, and puts it again only if it does
/// not.
async fn put(store: &Store, key: &str, bytes: &Bytes) {
    let deadline = Instant::now() + PATIENCE;
    let put = || store.put("images", key, bytes.clone(), "image/jpeg");
    while put().await.is_err() {
        loop {
            assert!(Instant::now() < deadline, "{key} could not be put");
            tokio::time::sleep(Duration::from_millis(50)).await;
            match store.head("images", key, None).await {
                Ok(head) if head.size == bytes.len() as u64 => return,
                Ok(_) | Err(StorageError::NotFound { .. }) => break,
                Err(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_has_a_result_and_a_thumbnail() {
    let up = Up::new();
    let mut process = up.start();
    let store = up.store().await;
    put(&store, "a b/ü+1%2F.jpg", &sample("bicycle__0026-grey.jpg")).await;
    let results = tokio::task::block_in_place(|| up.results(1));
    let event = &results["a b/ü+1%2F.jpg"][0];
    assert_eq!(event.labels[0].label, "bicycle");
    let stored = event.thumbnail.as_ref().unwrap();
    let id = event.image.id;
    assert_eq!(
        stored.key,
        format!("thumbnails/a b/ü+1%2F.jpg_{id}_thumb.png")
    );
    let png = store
        .get(&stored.bucket, &stored.key, None, 1 << 20)
        .await
        .unwrap()
        .bytes;
    assert!(png.starts_with(b"\x89PNG"));
    process.signal("TERM").unwrap();
    assert!(process.wait(PATIENCE).success());
}

/// A number from the environment, for longer runs.
fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_image_has_one_result_after_repeated_kills() {
    let images = number("SIGHTLINE_TEST_IMAGES", 120);
    let kills = number("SIGHTLINE_TEST_KILLS", 5);
    let up = Up::new();
    let mut process = up.start();
    let store = up.store().await;
    let mut scenes: Vec<PathBuf> = fs::read_dir(tests("fixtures/scenes"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    scenes.sort();
    let uploads = {
        let store = store.clone();
        tokio::task::JoinSet::from_iter([async move {
            for (number, scene) in scenes.iter().cycle().take(images).enumerate() {
                let bytes = Bytes::from(fs::read(scene).unwrap());
                let name = scene.file_name().unwrap().to_str().unwrap();
                put(&store, &format!("{number}/{name}"), &bytes).await;
            }
        }])
    };
    for kill in 1..=kills {
        tokio::task::block_in_place(|| up.results(kill * images / (kills + 2)));
        process.kill();
        process = up.start();
    }
    uploads.join_all().await;
    let results = tokio::task::block_in_place(|| up.results(images));
    assert_eq!(results.len(), images);
    let twice: Vec<_> = results
        .iter()
        .filter(|(_, events)| events.len() != 1)
        .collect();
    assert!(twice.is_empty(), "{twice:#?}");
    drop(process);
}

#[test]
fn the_default_keys_are_refused_beyond_loopback() {
    let data = tempfile::tempdir().unwrap();
    let mut command = sightline();
    command.args(["up", "--s3-listen", "0.0.0.0:0", "--kafka-listen"]);
    command.args(["127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data"]);
    let output = command.arg(data.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let said = ["0.0.0.0:0", "--secret-key", "SIGHTLINE_STORE_SECRET_KEY"];
    assert!(said.iter().all(|part| errors.contains(part)), "{errors}");
    let left = fs::read_dir(data.path()).unwrap().count();
    assert_eq!(left, 0, "nothing was started");
}
