//! Faulty servers: responses that end early, stall, declare a wrong length, or are not S3's at all.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use sightline_storage::{Advice, Credentials, Error, Objects, StorageSettings, Store};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

/// A server that answers each request with the next of its texts, and with the last one from then on. After a response
/// it
/// closes the connection, or keeps it open without sending more.
struct Faulty {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

async fn faulty(answers: &[&str], stall: bool) -> Faulty {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.iter().map(|text| (*text).to_owned()).collect();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let number = count.fetch_add(1, Ordering::SeqCst);
            let answer = &answers[number.min(answers.len() - 1)];
            let _ = stream.write_all(answer.as_bytes()).await;
            if stall {
                held.push(stream);
            }
        }
    });
    Faulty {
        address,
        requests,
        _tasks: tasks,
    }
}

async fn store(address: SocketAddr) -> Store {
    let settings = StorageSettings {
        s3_endpoint: Some(format!("http://{address}")),
        s3_timeout: Duration::from_millis(500),
        s3_attempts: 2,
        credentials: Some(Credentials {
            access_key: "a".into(),
            secret_key: "s".into(),
        }),
        ..StorageSettings::default()
    };
    Store::connect(&settings).await.unwrap()
}

const WHOLE: &str =
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"e\"\r\nconnection: close\r\n\r\nhello";
const BROKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"e\"\r\n\r\nhel";

#[tokio::test]
async fn a_body_that_ends_early_is_fetched_again() {
    let server = faulty(&[BROKEN, WHOLE], false).await;
    let object = store(server.address)
        .await
        .get("b", "k", None, 9)
        .await
        .unwrap();
    assert_eq!(&object.bytes[..], b"hello");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_that_always_ends_early_is_an_error() {
    let server = faulty(&[BROKEN], false).await;
    let error = store(server.address)
        .await
        .get("b", "k", None, 9)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_that_stalls_times_out() {
    let server = faulty(&[BROKEN], true).await;
    let begun = Instant::now();
    let error = store(server.address)
        .await
        .get("b", "k", None, 9)
        .await
        .unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_times_out() {
    let server = faulty(&[""], true).await;
    let begun = Instant::now();
    let error = store(server.address)
        .await
        .head("b", "k", None)
        .await
        .unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_body_without_length_is_cut_off_at_the_limit() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\netag: \"e\"\r\nconnection: close\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let server = faulty(&[&endless], true).await;
    let error = store(server.address)
        .await
        .get("b", "k", None, 1000)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 1000, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_declared_length_above_the_limit_allocates_nothing() {
    let huge = "HTTP/1.1 200 OK\r\ncontent-length: 9000000000000000000\r\netag: \"e\"\r\n\r\nx";
    let server = faulty(&[huge], true).await;
    let error = store(server.address)
        .await
        .get("b", "k", None, 1000)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                size: 9_000_000_000_000_000_000,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_etag_is_checked_even_where_if_match_is_unknown() {
    let server = faulty(&[WHOLE], false).await;
    let store = store(server.address).await;
    let get = sightline_storage::Get {
        bucket: "b",
        key: "k",
        version: None,
        etag: Some("other"),
        max_bytes: 9,
    };
    let error = store.fetch(get).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_page_of_a_gateway_is_transient_and_retried() {
    let page =
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>";
    let server = faulty(&[page, WHOLE], false).await;
    let object = store(server.address)
        .await
        .get("b", "k", None, 9)
        .await
        .unwrap();
    assert_eq!(&object.bytes[..], b"hello");
    let server = faulty(&[page], false).await;
    let error = store(server.address)
        .await
        .put("b", "k", Bytes::new(), "x/y")
        .await
        .unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error:?}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_cause_has_the_server_s_own_words() {
    let body = "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>";
    let denied = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let server = faulty(&[&denied], false).await;
    let error = store(server.address)
        .await
        .get("b", "k", None, 9)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "HTTP 403 AccessDenied: not yours");
}

#[tokio::test]
async fn a_refused_connection_is_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = store(address)
        .await
        .get("b", "k", None, 9)
        .await
        .unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error:?}");
}

/// The default client supports TLS: the error here is a failed handshake, not an unknown scheme.
#[tokio::test]
async fn https_is_supported() {
    let server = faulty(&["not TLS at all"], false).await;
    let settings = StorageSettings {
        s3_endpoint: Some(format!("https://{}", server.address)),
        s3_timeout: Duration::from_millis(500),
        s3_attempts: 1,
        credentials: Some(Credentials {
            access_key: "a".into(),
            secret_key: "s".into(),
        }),
        ..StorageSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    let error = store.get("b", "k", None, 9).await.unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error:?}");
}

#[tokio::test]
async fn settings_that_are_wrong_stop_at_once() {
    let settings = StorageSettings {
        s3_endpoint: Some("nonsense".into()),
        s3_attempts: 0,
        ..StorageSettings::default()
    };
    let error = Store::connect(&settings).await.unwrap_err();
    assert_eq!(error.advice(), Advice::Stop);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("--s3-endpoint") && cause.contains("--s3-attempts"),
        "{cause}"
    );
}
