//! Abandoned multipart uploads, and requests that declare more than a store accepts.
#![allow(clippy::unwrap_used)]

mod raw;

use raw::{Answer, Request, config, exchange, store};
use sightline_objectstore::{Config, Error, ObjectStore};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn begin(server: &ObjectStore) -> String {
    let begun = Request::new("POST", "/images/k?uploads=")
        .send(server)
        .await;
    begun.element("UploadId")
}

async fn put_part(server: &ObjectStore, number: &str, id: &str) -> Answer {
    let target = format!("/images/k?partNumber={number}&uploadId={id}");
    let part = Request {
        body: b"part",
        ..Request::new("PUT", &target)
    };
    part.send(server).await
}

async fn parts(server: &ObjectStore, id: &str) -> Answer {
    let target = format!("/images/k?uploadId={id}");
    Request::new("GET", &target).send(server).await
}

/// As if nothing had been done to the folder since.
fn untouched_since(folder: &Path, ago: Duration) {
    let folder = std::fs::File::open(folder).unwrap();
    folder.set_modified(SystemTime::now() - ago).unwrap();
}

async fn restart(config: &Config) -> ObjectStore {
    loop {
        match ObjectStore::start(config.clone()).await {
            Ok(server) => return server,
            Err(Error::InUse { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_abandoned_upload_expires() {
    let root = tempfile::tempdir().unwrap();
    let settings = config(root.path());
    let server = store(settings.clone()).await;
    let uploads = root.path().join("uploads");
    let (old, young) = (begin(&server).await, begin(&server).await);
    for id in [&old, &young] {
        assert_eq!(put_part(&server, "1", id).await.status, 200);
    }
    server.shutdown().await;
    untouched_since(&uploads.join(&old), DAY + Duration::from_secs(60));
    untouched_since(&uploads.join(&young), DAY - Duration::from_secs(60));
    // What a crash leaves between the two steps of removing an upload, or of beginning one.
    let half = uploads.join("0123456789abcdef0123456789abcdef");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("00001-0.part"), "part").unwrap();
    untouched_since(&half, 2 * DAY);

    let server = restart(&settings).await;
    assert!(!uploads.join(&old).exists() && !half.exists());
    for answer in [
        put_part(&server, "2", &old).await,
        parts(&server, &old).await,
    ] {
        assert!(answer.refuses(404, "NoSuchUpload", &[]), "{answer:?}");
    }
    assert_eq!(put_part(&server, "2", &young).await.status, 200);
    let listed = parts(&server, &young).await;
    assert_eq!(listed.body.matches("<Part>").count(), 2, "{listed:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_part_added_gives_an_upload_another_day() {
    let root = tempfile::tempdir().unwrap();
    let settings = config(root.path());
    let server = store(settings.clone()).await;
    let id = begin(&server).await;
    untouched_since(&root.path().join("uploads").join(&id), 2 * DAY);
    assert_eq!(put_part(&server, "1", &id).await.status, 200);
    server.shutdown().await;
    let server = restart(&settings).await;
    assert_eq!(parts(&server, &id).await.status, 200);
    server.shutdown().await;
}

/// A request that is signed for no body, announces one, and sends none: an answer shows that nobody waits for it.
async fn announced(server: &ObjectStore, target: &str, length: &str) -> Answer {
    let text = Request::new("PUT", target).head(server, length);
    exchange(server.local_addr(), text.as_bytes()).await
}

#[tokio::test]
async fn what_is_announced_as_too_much_is_refused_before_it_arrives() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let id = begin(&server).await;
    let too_long = (5_u64 << 30) + 1;
    let answer = announced(&server, "/images/k", &too_long.to_string()).await;
    assert!(answer.refuses(400, "EntityTooLarge", &[]), "{answer:?}");
    for number in ["0", "-1", "10001"] {
        let target = format!("/images/k?partNumber={number}&uploadId={id}");
        let answer = announced(&server, &target, "100").await;
        assert!(
            answer.refuses(400, "InvalidArgument", &["10000"]),
            "{answer:?}"
        );
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_request_in_xml_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let delete = async |count: usize, padding: usize| {
        let objects = "<Object><Key>k</Key></Object>".repeat(count);
        let body = format!("<Delete>{objects}{}</Delete>", " ".repeat(padding));
        let delete = Request {
            body: body.as_bytes(),
            ..Request::new("POST", "/images?delete=")
        };
        delete.send(&server).await
    };
    assert_eq!(delete(1000, 0).await.status, 200);
    let answer = delete(1001, 0).await;
    assert!(answer.refuses(400, "MalformedXML", &["1000"]), "{answer:?}");
    let put = Request::new("PUT", "/images/k");
    assert_eq!(put.send(&server).await.status, 200);
    // s3s calls it an internal error.
    assert_eq!(delete(1, 4 << 20).await.status, 500);
    let get = Request::new("GET", "/images/k");
    assert_eq!(get.send(&server).await.status, 200, "not deleted");
    assert_eq!(delete(1, 3 << 20).await.status, 200);
    assert_eq!(get.send(&server).await.status, 404);
    server.shutdown().await;
}

#[tokio::test]
async fn a_flood_of_headers_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let text = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "x".repeat(70 << 10)
    );
    let answer = exchange(server.local_addr(), text.as_bytes()).await;
    assert_eq!(answer.status, 431);
    server.shutdown().await;
}
