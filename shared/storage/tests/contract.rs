//! The contract of [`Objects`]: one suite that runs on memory, on the embedded S3 server, and on the S3 server that
//! `SIGHTLINE_TEST_S3_ENDPOINT` names, if it is set (credentials by the AWS default chain).
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::TryStreamExt;
use sightline_objectstore::{Config, ObjectStore};
use sightline_storage::{
    Advice, Credentials, Entry, Error, Get, Memory, Objects, StorageSettings, Store,
};

const LIMIT: u64 = 1 << 20;
const KEYS: [&str; 12] = [
    "plain.jpg",
    "a b/ü+1%2F.jpg",
    "a+b",
    "a%20b",
    "日本/é.png",
    "x/../y",
    "./x",
    "dir//file",
    "/leading",
    "trailing/",
    "q?a=b&c#d",
    "quote\"'<&>;=@:,$!*()[]{}|\\^`~",
];

async fn keeps_the_contract(store: &dyn Objects, bucket: &str) {
    store.create_bucket(bucket).await.unwrap();
    store.create_bucket(bucket).await.unwrap();
    puts_and_gets(store, bucket).await;
    holds_any_key(store, bucket).await;
    bounds_what_it_reads(store, bucket).await;
    notices_change(store, bucket).await;
    says_what_is_missing(store, bucket).await;
    lists_in_order(store, bucket).await;
    refuses_bad_names(store).await;
}

async fn puts_and_gets(store: &dyn Objects, bucket: &str) {
    let first = store
        .put(bucket, "k", Bytes::from_static(b"one"), "image/png")
        .await
        .unwrap();
    let again = store
        .put(bucket, "k", Bytes::from_static(b"one"), "image/png")
        .await
        .unwrap();
    assert_eq!(first.etag, again.etag);
    assert!(!first.etag.is_empty() && !first.etag.contains('"'));
    let object = store.get(bucket, "k", None, LIMIT).await.unwrap();
    assert_eq!(&object.bytes[..], b"one");
    assert_eq!(object.etag, first.etag);
    assert_eq!(object.content_type.as_deref(), Some("image/png"));
    let head = store.head(bucket, "k", None).await.unwrap();
    assert_eq!((head.size, &head.etag), (3, &first.etag));
    store
        .put(bucket, "k", Bytes::from_static(b"second"), "image/jpeg")
        .await
        .unwrap();
    let object = store.get(bucket, "k", None, LIMIT).await.unwrap();
    assert_eq!(&object.bytes[..], b"second");
    store
        .put(bucket, "empty", Bytes::new(), "image/png")
        .await
        .unwrap();
    assert!(
        store
            .get(bucket, "empty", None, 0)
            .await
            .unwrap()
            .bytes
            .is_empty()
    );
    store.delete(bucket, "k").await.unwrap();
    store.delete(bucket, "k").await.unwrap();
    let gone = store.get(bucket, "k", None, LIMIT).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone:?}");
}

async fn holds_any_key(store: &dyn Objects, bucket: &str) {
    let long = format!("long/{}", "ü".repeat(500));
    for key in KEYS.iter().copied().chain([long.as_str()]) {
        // MinIO refuses names that a file system would read as a path.
        let put = store
            .put(bucket, key, Bytes::from(key.to_owned()), "text/plain")
            .await;
        match put {
            Ok(_) => {}
            Err(Error::Invalid { .. }) if strict() => continue,
            Err(error) => panic!("{key}: {error:?}"),
        }
        let object = store.get(bucket, key, None, LIMIT).await;
        let object = object.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        assert_eq!(object.bytes, key.as_bytes(), "{key}");
        let listed: Vec<Entry> = store.list(bucket, key).try_collect().await.unwrap();
        assert_eq!(listed[0].key, key);
        assert_eq!(listed[0].etag, object.etag);
        store.delete(bucket, key).await.unwrap();
    }
}

fn strict() -> bool {
    std::env::var_os("SIGHTLINE_TEST_S3_ENDPOINT").is_some()
}

async fn bounds_what_it_reads(store: &dyn Objects, bucket: &str) {
    store
        .put(bucket, "big", Bytes::from(vec![7; 100_000]), "x/y")
        .await
        .unwrap();
    assert_eq!(
        store
            .get(bucket, "big", None, 100_000)
            .await
            .unwrap()
            .bytes
            .len(),
        100_000
    );
    let error = store.get(bucket, "big", None, 99_999).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                size: 100_000,
                limit: 99_999,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.advice(), Advice::Reject);
    assert!(
        error.to_string().contains(&format!("s3://{bucket}/big")),
        "{error}"
    );
}

async fn notices_change(store: &dyn Objects, bucket: &str) {
    let old = store
        .put(bucket, "c", Bytes::from_static(b"old"), "x/y")
        .await
        .unwrap();
    let get = |etag| Get {
        bucket,
        key: "c",
        version: None,
        etag,
        max_bytes: LIMIT,
    };
    store.fetch(get(Some(&old.etag))).await.unwrap();
    let quoted = format!("\"{}\"", old.etag);
    store.fetch(get(Some(&quoted))).await.unwrap();
    store
        .put(bucket, "c", Bytes::from_static(b"new"), "x/y")
        .await
        .unwrap();
    let error = store.fetch(get(Some(&old.etag))).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    assert_eq!(&store.fetch(get(None)).await.unwrap().bytes[..], b"new");
}

async fn says_what_is_missing(store: &dyn Objects, bucket: &str) {
    let nowhere = format!("{bucket}-nowhere");
    let missing = [
        store.get(bucket, "none", None, LIMIT).await.unwrap_err(),
        store.get(&nowhere, "none", None, LIMIT).await.unwrap_err(),
        store
            .get(bucket, "c", Some("no-such-version"), LIMIT)
            .await
            .unwrap_err(),
        store.head(bucket, "none", None).await.unwrap_err(),
        store
            .head(bucket, "c", Some("no-such-version"))
            .await
            .unwrap_err(),
        store
            .put(&nowhere, "k", Bytes::new(), "x/y")
            .await
            .unwrap_err(),
        store
            .list(&nowhere, "")
            .try_collect::<Vec<_>>()
            .await
            .unwrap_err(),
    ];
    for error in missing {
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(error.advice(), Advice::Reject);
    }
}

async fn lists_in_order(store: &dyn Objects, bucket: &str) {
    let listed: Vec<Entry> = store.list(bucket, "pages/").try_collect().await.unwrap();
    assert!(listed.is_empty());
    let mut keys: Vec<_> = (0..1234).map(|n| format!("pages/{n}")).collect();
    keys.extend(["pages/é", "pages/Z", "pages/a/b", "pages/a b", "pages/a+b"].map(String::from));
    for key in &keys {
        store
            .put(bucket, key, Bytes::from_static(b"x"), "x/y")
            .await
            .unwrap();
    }
    store
        .put(bucket, "pages", Bytes::new(), "x/y")
        .await
        .unwrap();
    keys.sort();
    let listed: Vec<Entry> = store.list(bucket, "pages/").try_collect().await.unwrap();
    let found: Vec<_> = listed.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(found, keys);
    assert!(
        listed
            .iter()
            .all(|entry| entry.size == 1 && entry.last_modified_ms.is_some())
    );
}

async fn refuses_bad_names(store: &dyn Objects) {
    let long = "k".repeat(1025);
    let wrong = [
        ("arn:aws:s3:::b", "k"),
        ("..", "k"),
        ("a/b", "k"),
        ("", "k"),
        ("b", ""),
        ("b", &long),
    ];
    for (bucket, key) in wrong {
        let error = store.get(bucket, key, None, LIMIT).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{bucket} {error:?}");
    }
}

#[tokio::test]
async fn memory() {
    keeps_the_contract(&Memory::new(), "images").await;
    keeps_the_contract(&Memory::versioned(), "images").await;
}

#[tokio::test]
async fn memory_keeps_versions_when_told_to() {
    let store = Memory::versioned();
    store.create_bucket("b").await.unwrap();
    let one = store
        .put("b", "k", Bytes::from_static(b"1"), "x/y")
        .await
        .unwrap();
    let two = store
        .put("b", "k", Bytes::from_static(b"2"), "x/y")
        .await
        .unwrap();
    assert_ne!(one.version, two.version);
    let old = store
        .get("b", "k", one.version.as_deref(), 9)
        .await
        .unwrap();
    assert_eq!(&old.bytes[..], b"1");
    assert_eq!(&store.get("b", "k", None, 9).await.unwrap().bytes[..], b"2");
}

#[tokio::test]
async fn embedded_s3() {
    let root = tempfile::tempdir().unwrap();
    let keys = sightline_objectstore::Credentials {
        access_key: "sightline".into(),
        secret_key: "sightline-secret".into(),
    };
    let config = Config {
        fsync: false,
        ..Config::new(root.path(), keys)
    };
    let server = ObjectStore::start(config).await.unwrap();
    let store = Store::connect(&settings(&server, "sightline-secret"))
        .await
        .unwrap();
    keeps_the_contract(&store, "images").await;

    let wrong = Store::connect(&settings(&server, "wrong")).await.unwrap();
    let error = wrong.get("images", "c", None, LIMIT).await.unwrap_err();
    assert_eq!(error.advice(), Advice::Stop, "{error:?}");
    server.shutdown().await;
}

fn settings(server: &ObjectStore, secret: &str) -> StorageSettings {
    StorageSettings {
        s3_endpoint: Some(format!("http://{}", server.local_addr())),
        credentials: Some(Credentials {
            access_key: "sightline".into(),
            secret_key: secret.into(),
        }),
        ..StorageSettings::default()
    }
}

#[tokio::test]
async fn s3_server_named_by_the_environment() {
    let Ok(endpoint) = std::env::var("SIGHTLINE_TEST_S3_ENDPOINT") else {
        return;
    };
    let settings = StorageSettings {
        s3_endpoint: Some(endpoint),
        ..StorageSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    keeps_the_contract(&store, "sightline-contract").await;
}
