//! Notifications: before the acknowledgement, after failures, and after a crash.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::Value;
use sightline_objectstore::{Config, Credentials, Error, Notifier, ObjectStore, Rule};
use sightline_storage::{Advice, Entry, Objects, StorageSettings, Store};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// A notifier that records events. It can be set to fail or to block.
#[derive(Default)]
struct Ear {
    heard: Mutex<VecDeque<(String, Bytes)>>,
    fails: AtomicBool,
    holds: AtomicBool,
    asked: Notify,
}

#[async_trait]
impl Notifier for Ear {
    async fn notify(
        &self,
        key: &str,
        event: Bytes,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.asked.notify_one();
        if self.holds.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.heard
            .lock()
            .unwrap()
            .push_back((key.to_owned(), event));
        if self.fails.load(Ordering::SeqCst) {
            Err("no broker".into())
        } else {
            Ok(())
        }
    }
}

impl Ear {
    fn heard(&self) -> Vec<(String, Bytes)> {
        self.heard.lock().unwrap().drain(..).collect()
    }

    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    /// The next event, waited for.
    async fn next(&self) -> (String, Bytes) {
        let waited = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                if let Some(next) = self.heard.lock().unwrap().pop_front() {
                    return next;
                }
                self.asked.notified().await;
                tokio::task::yield_now().await;
            }
        });
        waited.await.unwrap()
    }
}

fn config(root: &Path, ear: &Arc<Ear>) -> Config {
    let credentials = Credentials {
        access_key: "sightline".into(),
        secret_key: "secret".into(),
    };
    let notifier: Arc<dyn Notifier> = Arc::clone(ear) as _;
    Config {
        notifier: Some(notifier),
        except: vec![Rule::bucket("thumbnails")],
        ..Config::new(root, credentials)
    }
}

async fn client(server: &ObjectStore) -> Store {
    let settings = StorageSettings {
        s3_endpoint: Some(format!("http://{}", server.local_addr())),
        s3_attempts: 1,
        credentials: Some(sightline_storage::Credentials {
            access_key: "sightline".into(),
            secret_key: "secret".into(),
        }),
        ..StorageSettings::default()
    };
    Store::connect(&settings).await.unwrap()
}

/// Starts again on a folder whose last store may take a moment to be gone.
async fn restart(config: &Config) -> ObjectStore {
    loop {
        match ObjectStore::start(config.clone()).await {
            Ok(server) => return server,
            Err(Error::InUse { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn put(store: &Store, bucket: &str, key: &str, content: &'static [u8]) -> Option<String> {
    let bytes = Bytes::from_static(content);
    match store.put(bucket, key, bytes, "image/png").await {
        Ok(stored) => Some(stored.etag),
        Err(error) => {
            assert_eq!(error.advice(), Advice::Retry, "{error:?}");
            None
        }
    }
}

fn object(event: &Bytes) -> Value {
    let event: Value = serde_json::from_slice(event).unwrap();
    event["Records"][0]["s3"]["object"].clone()
}

#[tokio::test]
async fn an_object_is_notified_of_before_its_client_hears() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let server = ObjectStore::start(config(root.path(), &ear)).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    store.create_bucket("thumbnails").await.unwrap();
    let key = "a b/ü+1%2F.jpg";
    let etag = put(&store, "images", key, b"pixels").await.unwrap();
    put(&store, "thumbnails", key, b"small").await.unwrap();
    put(&store, "images", key, b"pixels").await.unwrap();
    let heard = ear.heard();
    assert_eq!(heard.len(), 2, "none for the excepted bucket");
    assert_eq!(heard[0].0, format!("images/{key}"));
    let (first, second) = (object(&heard[0].1), object(&heard[1].1));
    assert_eq!(first["key"], "a+b%2F%C3%BC%2B1%252F.jpg");
    assert_eq!(first["eTag"], etag);
    assert_eq!(first["size"], 6);
    assert_eq!(first["contentType"], "image/png");
    let sequencer = |object: &Value| object["sequencer"].as_str().unwrap().to_owned();
    assert!(
        sequencer(&first) < sequencer(&second),
        "each write has its own"
    );
    store.delete("images", key).await.unwrap();
    assert!(ear.heard().is_empty());
    server.shutdown().await;
}

#[tokio::test]
async fn a_retry_after_a_failed_notification_is_the_same_write() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let server = ObjectStore::start(config(root.path(), &ear)).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    ear.fails(true);
    assert_eq!(put(&store, "images", "k", b"pixels").await, None);
    ear.fails(false);
    put(&store, "images", "k", b"pixels").await.unwrap();
    let heard = ear.heard();
    assert!(heard.len() >= 2);
    assert!(
        heard.iter().all(|event| *event == heard[0]),
        "byte for byte"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn a_failed_notification_is_delivered_later_without_a_retry() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let server = ObjectStore::start(config(root.path(), &ear)).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    ear.fails(true);
    assert_eq!(put(&store, "images", "k", b"pixels").await, None);
    let failed = ear.next().await;
    ear.fails(false);
    assert_eq!(ear.next().await, failed);
    server.shutdown().await;
}

#[tokio::test]
async fn a_crash_between_object_and_notification_owes_the_same_event() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let first = config(root.path(), &ear);
    let server = ObjectStore::start(first.clone()).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    ear.fails(true);
    assert_eq!(put(&store, "images", "k", b"pixels").await, None);
    let sent = ear.next().await;
    drop((store, server));
    ear.heard();
    ear.fails(false);
    let server = restart(&first).await;
    assert_eq!(ear.next().await, sent);
    let store = client(&server).await;
    let object = store.get("images", "k", None, 99).await.unwrap();
    assert_eq!(&object.bytes[..], b"pixels");
    drop((store, server));
    let server = restart(&first).await;
    let store = client(&server).await;
    put(&store, "images", "another", b"x").await.unwrap();
    let heard = ear.heard();
    assert_eq!(heard.len(), 1, "delivered is delivered: {heard:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn no_notification_is_owed_for_an_overwritten_or_deleted_object() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let first = config(root.path(), &ear);
    let server = ObjectStore::start(first.clone()).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    ear.fails(true);
    assert_eq!(put(&store, "images", "gone", b"pixels").await, None);
    assert_eq!(put(&store, "images", "changed", b"old").await, None);
    assert_eq!(put(&store, "images", "changed", b"new").await, None);
    store.delete("images", "gone").await.unwrap();
    drop((store, server));
    ear.heard();
    ear.fails(false);
    let server = restart(&first).await;
    let (key, event) = ear.next().await;
    assert_eq!(key, "images/changed");
    assert_eq!(object(&event)["size"], 3);
    let store = client(&server).await;
    put(&store, "images", "last", b"x").await.unwrap();
    assert_eq!(ear.next().await.0, "images/last");
    assert!(ear.heard().is_empty());
    server.shutdown().await;
}

#[tokio::test]
async fn acknowledged_objects_outlive_a_crash_and_what_was_unfinished_is_swept() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let first = config(root.path(), &ear);
    let server = ObjectStore::start(first.clone()).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    for key in [
        "..",
        "../../etc/passwd",
        "a/",
        "A",
        "a",
        "ü",
        &"x".repeat(1024),
    ] {
        put(&store, "images", key, b"pixels").await.unwrap();
    }
    put(&store, "images", "a", b"second").await.unwrap();
    let before: Vec<Entry> = store.list("images", "").try_collect().await.unwrap();
    drop((store, server));
    let shard = std::fs::read_dir(root.path().join("buckets/images")).unwrap();
    let shard = shard.flatten().next().unwrap().path();
    std::fs::write(shard.join("0123-4567.data"), "content without a record").unwrap();
    std::fs::write(root.path().join("tmp/7"), "half").unwrap();
    let server = restart(&first).await;
    assert!(!shard.join("0123-4567.data").exists() && !root.path().join("tmp/7").exists());
    let store = client(&server).await;
    let after: Vec<Entry> = store.list("images", "").try_collect().await.unwrap();
    assert_eq!(after, before);
    assert_eq!(after.len(), 7);
    let object = store.get("images", "a", None, 99).await.unwrap();
    assert_eq!(&object.bytes[..], b"second");
    server.shutdown().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_write_half_done() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let first = config(root.path(), &ear);
    let server = ObjectStore::start(first.clone()).await.unwrap();
    let store = client(&server).await;
    store.create_bucket("images").await.unwrap();
    ear.holds.store(true, Ordering::SeqCst);
    let mut clients = tokio::task::JoinSet::new();
    let leaving = store.clone();
    clients.spawn(async move { put(&leaving, "images", "k", b"pixels").await });
    ear.asked.notified().await;
    clients.shutdown().await;
    let listed: Vec<Entry> = store.list("images", "").try_collect().await.unwrap();
    assert_eq!(listed.len(), 1, "in place before the notification");
    drop(server);
}

#[tokio::test]
async fn a_folder_has_one_store_at_a_time() {
    let (root, ear) = (tempfile::tempdir().unwrap(), Arc::new(Ear::default()));
    let server = ObjectStore::start(config(root.path(), &ear)).await.unwrap();
    let second = ObjectStore::start(config(root.path(), &ear)).await;
    assert!(matches!(second, Err(Error::InUse { .. })));
    server.shutdown().await;
    ObjectStore::start(config(root.path(), &ear))
        .await
        .unwrap()
        .shutdown()
        .await;
}
