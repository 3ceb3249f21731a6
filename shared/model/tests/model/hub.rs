//! Weights from a hub, served by a small server with its protocol.

use crate::support::{self, Net};
use safetensors::Dtype;
use sightline_manifest::{self as manifest, Hub, Interpolation, Resize, Source};
use sightline_model::{Error, Options, load};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

const BASIC: bool = false;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPOSITORY: &str = "timm/resnet18.tiny";

/// `/{repository}/resolve/{revision}/{file}` by path, each answered to a range as Hugging Face does, and a log of what
/// was asked for. Lives until the test's process ends.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>, token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &files, token, &log);
            }
        });
        Self { address, requests }
    }

    fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn answer(
    stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    token: Option<&str>,
    log: &Mutex<Vec<String>>,
) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let headers: BTreeMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        })
        .collect();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(path.clone());
    let refused =
        token.is_some_and(|token| headers.get("authorization") != Some(&format!("Bearer {token}")));
    let (head, body) = match files.get(&path) {
        _ if refused => ("401 Unauthorized\r\n".to_owned(), &[][..]),
        None => ("404 Not Found\r\n".to_owned(), &[][..]),
        Some(content) => {
            let range = headers
                .get("range")
                .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
            let (first, last) = range.unwrap_or(("0", ""));
            let first: usize = first.parse().unwrap();
            let end = last
                .parse()
                .map_or(content.len(), |last: usize| last + 1)
                .min(content.len());
            let etag = path.rsplit('/').next().unwrap();
            let range = format!("content-range: bytes {first}-{}/{}", end - 1, content.len());
            let head = format!(
                "206 Partial Content\r\netag: \"{etag}\"\r\nx-repo-commit: {COMMIT}\r\n{range}\r\n"
            );
            (head, &content[first..end])
        }
    };
    let head = format!(
        "HTTP/1.1 {head}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A client that has left shows in its own error.
    let _ = (&stream)
        .write_all(head.as_bytes())
        .and_then(|()| (&stream).write_all(body));
}

/// The repository at `revision`, with a configuration as timm writes it.
fn files(revision: &str, weights: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let config = serde_json::json!({
        "architecture": "resnet18",
        "num_classes": 3,
        "label_names": ["n01", "n02", "n03"],
        "label_descriptions": { "n01": "tench", "n03": "shark" },
        "pretrained_cfg": {
            "tag": "tiny", "input_size": [3, 64, 48], "interpolation": "bicubic", "crop_pct": 0.95,
            "crop_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "classifier": "fc",
        },
    });
    let at = |file: &str| format!("/{REPOSITORY}/resolve/{revision}/{file}");
    [
        (at("config.json"), config.to_string().into_bytes()),
        (at("model.safetensors"), weights),
    ]
    .into()
}

fn weights() -> Vec<u8> {
    support::file(
        &support::tensors(Net::new(BASIC, [2, 2, 2, 2], 4, 3), 1),
        Dtype::F16,
    )
}

fn source(text: &str, server: &Server, cache: &tempfile::TempDir, token: Option<&str>) -> Source {
    let Source::Hub {
        repository,
        revision,
        ..
    } = text.parse().unwrap()
    else {
        panic!("{text} is no hub's");
    };
    let endpoint = Some(format!("http://{}", server.address));
    let hub = Hub {
        endpoint,
        cache: Some(cache.path().join("hub")),
        token: token.map(str::to_owned),
    };
    Source::Hub {
        repository,
        revision,
        hub,
    }
}

#[test]
fn preprocessing_and_labels_come_from_the_configuration() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(files("main", weights()), None);
    let source = source(&format!("hf:{REPOSITORY}"), &server, &cache, None);
    let model = load(&source, &Options::default()).unwrap();
    let manifest = model.manifest();
    assert_eq!(model.architecture().to_string(), "resnet18");
    assert_eq!(manifest.name, "resnet18.tiny");
    assert_eq!(manifest.labels, ["tench", "n02", "shark"]);
    assert_eq!(manifest.preprocessing.size, [64, 48]);
    assert_eq!(manifest.preprocessing.crop_fraction, 0.95);
    assert_eq!(manifest.preprocessing.resize, Resize::Stretch);
    assert_eq!(manifest.preprocessing.interpolation, Interpolation::Bicubic);
    assert_eq!(manifest.preprocessing.std, [0.25; 3]);
    assert_eq!(model.input_shape(), [3, 64, 48]);

    let asked = server.asked();
    assert!(asked >= 2);
    load(&source, &Options::default()).unwrap();
    assert_eq!(
        server.asked(),
        asked,
        "what the cache holds is not asked for again"
    );
}

#[test]
fn a_revision_and_a_token_are_passed_on() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(files("v1.0", weights()), Some("hush"));
    let text = format!("hf:{REPOSITORY}@v1.0");
    assert!(
        load(
            &source(&text, &server, &cache, Some("hush")),
            &Options::default()
        )
        .is_ok()
    );
    let other = tempfile::tempdir().unwrap();
    let refused = load(&source(&text, &server, &other, None), &Options::default()).unwrap_err();
    assert!(
        matches!(refused, Error::Source(manifest::Error::Unavailable { .. })),
        "{refused}"
    );
}

#[test]
fn what_is_not_there_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(files("main", weights()), None);
    let text = format!("hf:{REPOSITORY}@v9");
    let missing = load(&source(&text, &server, &cache, None), &Options::default()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!("can't read config.json of hf:{REPOSITORY}@v9")
    );
    assert!(
        std::error::Error::source(&missing)
            .unwrap()
            .to_string()
            .contains("404")
    );
}

#[test]
fn only_repositories_are_taken_for_repositories() {
    for text in [
        "hf:",
        "hf:owner",
        "hf:../..",
        "hf:a/b/c",
        "hf:a/b@",
        "hf:a/b@../x",
        "hf:a b/c",
        "ftp://x",
        "",
    ] {
        assert!(text.parse::<Source>().is_err(), "{text}");
    }
    for text in [
        "bundled",
        "hf:timm/resnet101.tv_in1k",
        "hf:a/b@refs/pr/1",
        "weights/road",
        "x.safetensors",
    ] {
        assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
    }
}
