//! The stage with the bundled model: records and their outcomes.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::future::join_all;
use prometheus_client::{encoding::text::encode, registry::Registry};
use sightline_contracts::{
    ImageId, ImageRef, PredictionMessage, Reason, TensorMessage, Times, Topic,
};
use sightline_infer::{BatchMetrics, Infer};
use sightline_manifest::{Pixels, Resize, Source};
use sightline_model::{BatchSettings, Engine, Options, load};
use sightline_stream::{Outcome, Record, Stage};
use std::{sync::Arc, time::Duration};

fn stage(registry: &mut Registry) -> Infer {
    let metrics = BatchMetrics::register(registry);
    let settings = BatchSettings {
        max_batch: 4,
        max_wait: Duration::from_millis(5),
        max_queue: 8,
        top_k: 3,
    };
    let model = load(&Source::Bundled, &Options::default()).unwrap();
    let observed = metrics.clone();
    let engine = Engine::start(model, settings, move |batch| observed.observe(batch)).unwrap();
    Infer::new(Arc::new(engine), metrics)
}

fn message(shape: [usize; 3], pixels: Pixels) -> TensorMessage {
    let image = ImageRef {
        id: ImageId::new("photos", "a b.jpg", "1"),
        bucket: "photos".to_owned(),
        key: "a b.jpg".to_owned(),
        version: None,
        etag: None,
        size: Some(7),
        event_time: Some("2026-01-01T00:00:00.000Z".to_owned()),
        times: Times {
            notified_ms: 1,
            ..Times::default()
        },
    };
    let thumbnail = Bytes::from_static(b"png");
    TensorMessage {
        image,
        shape,
        pixels,
        thumbnail,
        preprocessing: Source::Bundled.manifest().unwrap().preprocessing,
    }
}

fn record(message: &TensorMessage) -> Record {
    Record::new(Topic::Tensors, None, Some(message.encode().into()))
}

fn grey() -> TensorMessage {
    message([3, 224, 224], Pixels::U8(vec![128; 3 * 224 * 224].into()))
}

fn rejection(outcome: Outcome) -> (Reason, String) {
    match outcome {
        Outcome::Reject(rejection) => (rejection.reason, rejection.error),
        other => panic!("{other:?}"),
    }
}

fn prediction(outcome: Outcome) -> PredictionMessage {
    match outcome {
        Outcome::Done(outputs) => {
            let [output] = &outputs[..] else {
                panic!("{outputs:?}")
            };
            assert_eq!(output.topic, "predictions");
            assert_eq!(output.key.as_deref(), Some(&b"photos/a b.jpg"[..]));
            PredictionMessage::decode(output.value.as_ref().unwrap()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tensor_becomes_a_prediction() {
    let mut registry = Registry::default();
    let stage = stage(&mut registry);
    let said = prediction(stage.process(record(&grey())).await);
    assert_eq!(said.model.architecture, "resnet101");
    assert_eq!(said.model.weights_sha256.len(), 64);
    assert_eq!(said.thumbnail, &b"png"[..]);
    assert_eq!(said.labels.len(), 3);
    assert!(said.labels.iter().all(|label| !label.label.is_empty()));
    assert!(
        said.labels
            .is_sorted_by(|a, b| a.probability >= b.probability)
    );
    assert_eq!(said.image.times.notified_ms, 1);
    assert!(said.image.times.inferred_ms.is_some());

    let normalised = |c: usize| {
        let (mean, std) = ([0.485, 0.456, 0.406][c], [0.229, 0.224, 0.225][c]);
        (128.0 / 255.0 - mean) / std
    };
    let values = (0..3 * 224 * 224)
        .map(|n| normalised(n / (224 * 224)))
        .collect();
    let floats = prediction(
        stage
            .process(record(&message([3, 224, 224], Pixels::F32(values))))
            .await,
    );
    for (a, b) in said.labels.iter().zip(&floats.labels) {
        assert_eq!(a.class, b.class);
        assert!((a.probability - b.probability).abs() < 1e-3);
    }
}

#[tokio::test]
async fn records_at_once_are_computed_in_batches() {
    let mut registry = Registry::default();
    let stage = stage(&mut registry);
    let outcomes = join_all((0..12).map(|_| stage.process(record(&grey())))).await;
    assert_eq!(
        outcomes
            .into_iter()
            .map(prediction)
            .filter(|said| said.labels.len() == 3)
            .count(),
        12
    );
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("sightline_infer_batch_images_sum 12"),
        "{text}"
    );
    assert!(
        !text.contains("sightline_infer_batch_images_count 12"),
        "{text}"
    );
    for line in [
        "sightline_infer_queue_wait_seconds_count",
        "sightline_infer_model_seconds_count",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("sightline_infer_queued_images 0"), "{text}");
}

#[tokio::test]
async fn bytes_that_are_no_tensor_are_malformed_and_other_sizes_have_the_wrong_shape() {
    let mut registry = Registry::default();
    let stage = stage(&mut registry);
    let empty = Record::new(Topic::Tensors, None, None);
    assert_eq!(rejection(stage.process(empty).await).0, Reason::Malformed);
    for bytes in [&b""[..], b"{}", &grey().encode()[..5000]] {
        let noise = Record::new(Topic::Tensors, None, Some(Bytes::copy_from_slice(bytes)));
        assert_eq!(rejection(stage.process(noise).await).0, Reason::Malformed);
    }
    let small = message([3, 2, 2], Pixels::U8(vec![0; 12].into()));
    let (reason, error) = rejection(stage.process(record(&small)).await);
    assert_eq!(reason, Reason::WrongShape);
    assert_eq!(
        error,
        "image is [3, 2, 2] with 12 values, the model takes [3, 224, 224]"
    );
}

#[tokio::test]
async fn a_tensor_that_was_preprocessed_for_another_model_is_rejected() {
    let mut registry = Registry::default();
    let stage = stage(&mut registry);
    let mut stretched = grey();
    stretched.preprocessing.resize = Resize::Stretch;
    let (reason, error) = rejection(stage.process(record(&stretched)).await);
    assert_eq!(reason, Reason::WrongPreprocessing);
    assert!(
        error.contains("\"stretch\"") && error.contains("--model"),
        "{error}"
    );
    prediction(stage.process(record(&grey())).await);
}
