//! A web page in a browser on the same machine can do nothing, even if it knows the keys.
#![allow(clippy::unwrap_used)]

mod raw;

use raw::{Request, config, exchange, store};
use sightline_objectstore::{Config, Credentials, Error, ObjectStore};

#[tokio::test]
async fn a_web_page_can_not_put_objects() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let put = Request {
        body: b"pixels",
        ..Request::new("PUT", "/images/k")
    };
    for origin in ["https://evil.example", "null", "http://127.0.0.1:9000", ""] {
        let headers = [("Origin", origin)];
        let answer = Request {
            headers: &headers,
            ..put
        }
        .send(&server)
        .await;
        assert!(
            answer.refuses(403, "AccessDenied", &["Origin"]),
            "{answer:?}"
        );
        let read = Request {
            headers: &headers,
            ..Request::new("GET", "/images")
        };
        assert_eq!(read.send(&server).await.status, 403);
    }
    let preflight = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "PUT"),
    ];
    let asked = Request {
        headers: &preflight,
        ..Request::new("OPTIONS", "/images/k")
    };
    let answer = asked.send(&server).await;
    assert!(
        answer.refuses(403, "AccessDenied", &["Origin"]),
        "{answer:?}"
    );
    assert!(!answer.head.contains("access-control"), "{answer:?}");
    let get = Request::new("GET", "/images/k");
    assert_eq!(get.send(&server).await.status, 404, "none came in");
    assert_eq!(put.send(&server).await.status, 200, "it was the Origin");
    assert_eq!(get.send(&server).await.body, "pixels");
    server.shutdown().await;
}

#[tokio::test]
async fn a_foreign_host_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let server = store(Config {
        hosts: vec!["store.example".into()],
        ..config(root.path())
    })
    .await;
    let port = server.local_addr().port();
    let list = |host: String| {
        let server = &server;
        async move {
            let list = Request {
                host: Some(&host),
                ..Request::new("GET", "/images")
            };
            list.send(server).await
        }
    };
    for name in ["evil.example", "localhost.evil.example", "192.0.2.1"] {
        let answer = list(format!("{name}:{port}")).await;
        let said = [name, "--s3-host", "SIGHTLINE_STORE_HOST"];
        assert!(answer.refuses(403, "AccessDenied", &said), "{answer:?}");
    }
    for name in ["127.0.0.1", "localhost", "[::1]", "store.example"] {
        let answer = list(format!("{name}:{port}")).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(list(name.to_owned()).await.status, 200, "{name}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_request_has_one_host_whatever_form_it_takes() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let heads = [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n",
        "GET http://localhost/ HTTP/1.1\r\nhost: evil.example\r\n",
    ];
    for head in heads {
        let text = format!("{head}connection: close\r\n\r\n");
        let answer = exchange(server.local_addr(), text.as_bytes()).await;
        let about_hosts = answer.refuses(403, "AccessDenied", &["ost"])
            && answer.body.to_lowercase().contains("host");
        assert!(about_hosts, "{head}: {answer:?}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_refused_request_is_answered_before_its_body() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let head = "PUT /images/k HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 1000000\r\n\r\n";
    let answer = exchange(server.local_addr(), head.as_bytes()).await;
    assert!(
        answer.refuses(403, "AccessDenied", &["--s3-host"]),
        "{answer:?}"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn a_form_is_not_read_into_memory() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    // The file is declared but never sent: a server that reads it would wait.
    let text = format!(
        "POST /images HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=x\r\n\
         content-length: 5000000000\r\n\r\n--x\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n",
        server.local_addr(),
    );
    let answer = exchange(server.local_addr(), text.as_bytes()).await;
    assert!(
        answer.refuses(501, "NotImplemented", &["PUT"]),
        "{answer:?}"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn an_object_that_is_a_web_page_does_not_run_as_one_of_the_stores() {
    let root = tempfile::tempdir().unwrap();
    let server = store(config(root.path())).await;
    let headers = [("content-type", "text/html")];
    let put = Request {
        headers: &headers,
        body: b"<script>fetch('/')</script>",
        ..Request::new("PUT", "/images/page")
    };
    assert_eq!(put.send(&server).await.status, 200);
    let page = Request::new("GET", "/images/page").send(&server).await;
    for header in [
        "content-security-policy: sandbox",
        "x-content-type-options: nosniff",
    ] {
        assert!(page.head.contains(header), "{page:?}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn beyond_loopback_the_default_keys_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let beyond = Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::new(root.path().join("objects"), Credentials::default())
    };
    let refused = ObjectStore::start(beyond).await;
    assert!(matches!(refused, Err(Error::Settings(_))));
    assert!(!root.path().join("objects").exists(), "nothing was begun");
}
