//! A client that writes its requests byte by byte, so that it can send what S3's own clients never do.
#![allow(dead_code)]

use aws_credential_types::Credentials as Identity;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use secrecy::ExposeSecret as _;
use sightline_objectstore::{Config, Credentials, ObjectStore};
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A request, signed with the store's default keys.
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// None where the server's address will do.
    pub host: Option<&'a str>,
    /// Beside `Host` and those of the signature.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Request<'_> {
    pub fn new<'a>(method: &'a str, target: &'a str) -> Request<'a> {
        Request {
            method,
            target,
            host: None,
            headers: &[],
            body: b"",
        }
    }

    pub async fn send(&self, server: &ObjectStore) -> Answer {
        let head = self.head(server, &self.body.len().to_string());
        exchange(server.local_addr(), &[head.as_bytes(), self.body].concat()).await
    }

    /// All but the body, which it says has this length.
    pub fn head(&self, server: &ObjectStore, length: &str) -> String {
        let own = server.local_addr().to_string();
        let host = self.host.unwrap_or(&own);
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: {host}\r\n",
            self.method, self.target
        );
        let signed = self.signature(host);
        let headers = signed.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in headers.chain(self.headers.iter().copied()) {
            text += &format!("{name}: {value}\r\n");
        }
        text + &format!("content-length: {length}\r\nconnection: close\r\n\r\n")
    }

    fn signature(&self, host: &str) -> Vec<(String, String)> {
        let keys = Credentials::default();
        let identity = Identity::new(
            keys.access_key,
            keys.secret_key.expose_secret(),
            None,
            None,
            "test",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let signing = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap();
        let request = SignableRequest::new(
            self.method,
            format!("http://{host}{}", self.target),
            std::iter::empty(),
            SignableBody::Bytes(self.body),
        );
        let signed = sign(request.unwrap(), &signing.into()).unwrap();
        let (instructions, _) = signed.into_parts();
        let headers = instructions.headers();
        headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Whether it is an S3 error of this status and code that says all of this.
    pub fn refuses(&self, status: u16, code: &str, said: &[&str]) -> bool {
        self.status == status
            && self.body.contains(&format!("<Code>{code}</Code>"))
            && said.iter().all(|part| self.body.contains(part))
    }

    /// The text within an XML element of the body.
    pub fn element(&self, name: &str) -> String {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let rest = self
            .body
            .split_once(&start)
            .unwrap_or_else(|| panic!("{self:?}"))
            .1;
        rest.split_once(&end).unwrap().0.to_owned()
    }
}

/// Sends these bytes, and reads until the server closes.
pub async fn exchange(server: SocketAddr, bytes: &[u8]) -> Answer {
    let exchanged = tokio::time::timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes with bytes of the request unread resets the connection, after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    });
    let answer = String::from_utf8(exchanged.await.expect("no answer")).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or_default();
    Answer {
        status: status.parse().unwrap_or_else(|_| panic!("{answer:?}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// Settings of a store on loopback with the default keys.
pub fn config(root: &std::path::Path) -> Config {
    Config {
        fsync: false,
        ..Config::new(root, Credentials::default())
    }
}

/// A store with the bucket `images`.
pub async fn store(config: Config) -> ObjectStore {
    let server = ObjectStore::start(config).await.unwrap();
    let made = Request::new("PUT", "/images").send(&server).await;
    assert_eq!(made.status, 200, "{made:?}");
    server
}
