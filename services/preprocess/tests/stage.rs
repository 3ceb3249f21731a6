//! The stage on a store in memory: the outputs for valid images, and the dead letters' reasons for the others.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use prometheus_client::{encoding::text, registry::Registry};
use sightline_contracts::{ImageId, ImageRef, Reason, TensorMessage, Times, Topic};
use sightline_manifest::{Pixels, Preprocessing, Source};
use sightline_preprocess::{ImageSettings, Isolation, Preprocess, TensorType};
use sightline_storage::{Entry, Error, Get, Head, Location, Memory, Object, Objects, Stored};
use sightline_stream::{Outcome, Record, Stage};
use sightline_testkit::hostile;
use sightline_vision::{Limits, decode, tensor};
use std::{fs, path::PathBuf, sync::Arc};

fn picture(name: &str) -> Bytes {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vision/tests/fixtures");
    fs::read(folder.join(name)).unwrap().into()
}

fn reference(key: &str) -> ImageRef {
    ImageRef {
        id: ImageId::new("photos", key, "1"),
        bucket: "photos".into(),
        key: key.into(),
        version: None,
        etag: None,
        size: None,
        event_time: None,
        times: Times {
            notified_ms: 5,
            ..Times::default()
        },
    }
}

fn record(image: &ImageRef) -> Record {
    Record::new(Topic::Images, None, Some(image.to_json().into()))
}

/// Memory for decoding, more than any picture here needs.
const MEMORY: u64 = 1 << 30;

/// The defaults, with the service's binary as decoder, because the running program is the test.
fn settings() -> ImageSettings {
    ImageSettings {
        decode_program: Some(env!("CARGO_BIN_EXE_preprocess").into()),
        ..ImageSettings::defaults()
    }
}

struct Bench {
    store: Memory,
    stage: Preprocess,
    registry: Registry,
}

fn preprocessing() -> Preprocessing {
    Source::Bundled.manifest().unwrap().preprocessing
}

impl Bench {
    async fn new(settings: ImageSettings) -> Self {
        Self::with_memory(settings, MEMORY).await
    }

    async fn with_memory(settings: ImageSettings, memory: u64) -> Self {
        let store = Memory::new();
        store.create_bucket("photos").await.unwrap();
        let mut registry = Registry::default();
        let stage = Preprocess::new(
            Arc::new(store.clone()),
            preprocessing(),
            &settings,
            memory,
            &mut registry,
        )
        .unwrap();
        Self {
            store,
            stage,
            registry,
        }
    }

    async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> ImageRef {
        let stored = self
            .store
            .put("photos", key, bytes.into(), "image/jpeg")
            .await
            .unwrap();
        ImageRef {
            etag: Some(stored.etag),
            ..reference(key)
        }
    }

    async fn reason(&self, image: &ImageRef) -> Reason {
        match self.stage.process(record(image)).await {
            Outcome::Reject(rejection) => rejection.reason,
            other => panic!("{other:?}"),
        }
    }
}

fn message(outcome: Outcome) -> TensorMessage {
    let Outcome::Done(outputs) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((outputs.len(), outputs[0].topic.as_str()), (1, "tensors"));
    let message = TensorMessage::decode(outputs[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(
        outputs[0].key.as_deref(),
        Some(message.image.record_key().as_bytes())
    );
    message
}

#[tokio::test]
async fn an_image_becomes_a_tensor_and_a_thumbnail() {
    let bench = Bench::new(settings()).await;
    let bytes = picture("landscape.jpg");
    let mut image = bench.put("a b/ü+1%.jpg", bytes.clone()).await;
    image.size = Some(bytes.len() as u64);
    let message = message(bench.stage.process(record(&image)).await);
    assert_eq!(message.shape, [3, 224, 224]);
    let expected = tensor(
        &decode(&bytes, &Limits::default()).unwrap(),
        &preprocessing(),
    );
    assert_eq!(message.pixels, Pixels::U8(expected.data.into()));
    assert_eq!(message.preprocessing, preprocessing());
    let thumbnail = decode(&message.thumbnail, &Limits::default()).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (128, 128));
    assert!(message.image.times.preprocessed_ms.is_some());
    assert_eq!(message.image.id, image.id);
    let mut metrics = String::new();
    text::encode(&mut metrics, &bench.registry).unwrap();
    for line in [
        "sightline_preprocess_decode_seconds_count 1".to_owned(),
        format!("sightline_preprocess_fetched_bytes_total {}", bytes.len()),
        "sightline_preprocess_held_bytes 0".to_owned(),
        "sightline_preprocess_queued_images 0".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn f32_is_normalised() {
    let bench = Bench::new(ImageSettings {
        tensor_type: TensorType::F32,
        ..settings()
    })
    .await;
    let image = bench.put("a.png", picture("rgb16.png")).await;
    let Pixels::F32(values) = message(bench.stage.process(record(&image)).await).pixels else {
        panic!("not f32")
    };
    assert_eq!(values.len(), 3 * 224 * 224);
    assert!(values.iter().any(|v| *v < 0.0));
}

#[tokio::test]
async fn every_failing_image_gets_its_reason() {
    let settings = ImageSettings {
        max_pixels: 100_000,
        max_object_bytes: 60_000,
        ..settings()
    };
    let bench = Bench::new(settings).await;
    let jpeg = picture("progressive.jpg");
    for (reason, bytes) in [
        (Reason::Empty, Bytes::new()),
        (Reason::UnsupportedFormat, Bytes::from_static(b"a text")),
        (Reason::Corrupt, jpeg.slice(..jpeg.len() * 2 / 5)),
        (Reason::TooManyPixels, picture("landscape.jpg")),
        (Reason::TooLarge, vec![0; 60_001].into()),
    ] {
        let image = bench.put("image", bytes.clone()).await;
        assert_eq!(bench.reason(&image).await, reason);
        let told = ImageRef {
            size: Some(bytes.len() as u64),
            ..image
        };
        assert_eq!(bench.reason(&told).await, reason);
    }
    assert_eq!(
        bench.reason(&reference("never.jpg")).await,
        Reason::NotFound
    );
    let replaced = bench.put("twice", picture("420.jpg")).await;
    bench.put("twice", picture("422.jpg")).await;
    assert_eq!(bench.reason(&replaced).await, Reason::NotFound);
    let nonsense = Record::new(Topic::Images, None, Some("{}".into()));
    assert!(
        matches!(bench.stage.process(nonsense).await, Outcome::Reject(r) if r.reason == Reason::Malformed)
    );
}

#[tokio::test]
async fn many_at_once_stay_within_the_bytes_held() {
    let bytes = picture("420.jpg");
    let settings = ImageSettings {
        max_object_bytes: 3_000,
        max_held_bytes: 8_192,
        ..settings()
    };
    let bench = Bench::new(settings).await;
    let image = bench.put("a.jpg", bytes).await;
    let outcomes =
        futures::future::join_all((0..50).map(|_| bench.stage.process(record(&image)))).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Done(_)))
    );
}

#[tokio::test]
async fn threads_and_processes_give_the_same_tensor_and_thumbnail() {
    let inside = Bench::new(ImageSettings {
        decode_isolation: Isolation::Thread,
        ..settings()
    })
    .await;
    let apart = Bench::new(settings()).await;
    for name in [
        "landscape.jpg",
        "progressive.jpg",
        "rgb16.png",
        "lossy.webp",
        "alpha.bmp",
    ] {
        let mut messages = Vec::new();
        for bench in [&inside, &apart] {
            let image = bench.put(name, picture(name)).await;
            messages.push(message(bench.stage.process(record(&image)).await));
        }
        assert_eq!(messages[0].pixels, messages[1].pixels, "{name}");
        assert_eq!(messages[0].thumbnail, messages[1].thumbnail, "{name}");
    }
}

#[tokio::test]
async fn an_image_that_needs_too_much_memory_is_rejected_with_the_limit() {
    for decode_isolation in [Isolation::Process, Isolation::Thread] {
        let settings = ImageSettings {
            decode_isolation,
            ..settings()
        };
        // 49 megapixels in a few kilobytes, far more than the decoder's allowance.
        let bench = Bench::with_memory(settings, 64 << 20).await;
        let image = bench.put("a.png", flat_png(7_000, 7_000)).await;
        let Outcome::Reject(rejection) = bench.stage.process(record(&image)).await else {
            panic!("not rejected")
        };
        assert_eq!(rejection.reason, Reason::DecodeLimit);
        let limit = (64 << 20).to_string();
        for part in [&limit, "--decode-memory"] {
            assert!(rejection.error.contains(part), "{}", rejection.error);
        }
        let small = bench.put("b.jpg", picture("landscape.jpg")).await;
        message(bench.stage.process(record(&small)).await);
    }
}

#[tokio::test]
async fn an_image_that_kills_its_decoder_does_not_affect_the_others() {
    let bench = Bench::new(settings()).await;
    let bomb = bench
        .put("bomb.webp", hostile::huffman_bomb_webp(65_536))
        .await;
    let neighbour = bench.put("a.jpg", picture("landscape.jpg")).await;
    let (outcome, neighbours) = futures::join!(
        bench.stage.process(record(&bomb)),
        futures::future::join_all((0..20).map(|_| bench.stage.process(record(&neighbour)))),
    );
    let Outcome::Reject(rejection) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(rejection.reason, Reason::DecodeLimit, "{}", rejection.error);
    neighbours
        .into_iter()
        .for_each(|outcome| drop(message(outcome)));
    let mut metrics = String::new();
    text::encode(&mut metrics, &bench.registry).unwrap();
    let line = "sightline_preprocess_decoder_deaths_total{cause=\"memory\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert!(
        metrics.contains("sightline_preprocess_decode_memory_bytes 0"),
        "{metrics}"
    );
}

/// A PNG of one colour.
fn flat_png(width: u32, height: u32) -> Bytes {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let rows = vec![0; (width.div_ceil(8) * height) as usize];
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&rows)
        .unwrap();
    png.into()
}

/// A store whose every call fails.
struct Failing(fn(Location) -> Error);

#[async_trait]
impl Objects for Failing {
    async fn fetch(&self, get: Get<'_>) -> Result<Object, Error> {
        Err(self.0(Location::new(get.bucket, get.key)))
    }
    async fn head(&self, bucket: &str, key: &str, _: Option<&str>) -> Result<Head, Error> {
        Err(self.0(Location::new(bucket, key)))
    }
    async fn put(&self, bucket: &str, key: &str, _: Bytes, _: &str) -> Result<Stored, Error> {
        Err(self.0(Location::new(bucket, key)))
    }
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Error> {
        Err(self.0(Location::new(bucket, key)))
    }
    fn list(&self, _: &str, _: &str) -> BoxStream<'static, Result<Entry, Error>> {
        Box::pin(futures::stream::empty())
    }
    async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        Err(self.0(Location::new(bucket, "")))
    }
}

#[tokio::test]
async fn an_unavailable_store_is_retried_and_a_denial_is_not() {
    let process = async |error: fn(Location) -> Error| {
        let stage = Preprocess::new(
            Arc::new(Failing(error)),
            preprocessing(),
            &settings(),
            MEMORY,
            &mut Registry::default(),
        )
        .unwrap();
        stage.process(record(&reference("a.jpg"))).await
    };
    let down = process(|at| Error::Transient {
        at,
        source: "connection refused".into(),
    })
    .await;
    assert!(
        matches!(&down, Outcome::Retry { error, .. } if error.contains("connection refused")),
        "{down:?}"
    );
    let closed = process(|at| Error::Denied {
        at,
        source: "HTTP 403".into(),
    })
    .await;
    assert!(matches!(closed, Outcome::Reject(r) if r.reason == Reason::AccessDenied));
}
