//! The files in `schemas/` and the types describe the same messages.
#![allow(clippy::unwrap_used)]

use jsonschema::{Registry, Resource, Validator};
use proptest::prelude::*;
use serde_json::{Value, json};
use sightline_contracts::*;
use sightline_manifest::{Pixels, Preprocessing};
use std::{fs, path::PathBuf};

fn schema(name: &str) -> Value {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{name}.schema.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn validator(name: &str) -> Validator {
    let mut schema = schema(name);
    // Relative references resolve beside the schema.
    schema["$id"] = json!(format!("https://schemas.test/{name}.schema.json"));
    let image = Resource::from_contents(self::schema("image-ref")).unwrap();
    let registry = Registry::try_new("https://schemas.test/image-ref.schema.json", image).unwrap();
    jsonschema::options()
        .with_registry(registry)
        .build(&schema)
        .unwrap()
}

fn examples(name: &str) -> Vec<Value> {
    let examples = schema(name)["examples"].as_array().unwrap().clone();
    assert!(!examples.is_empty());
    examples
}

#[test]
fn every_example_fits_its_schema() {
    for name in ["image-ref", "result", "notification", "dead-letter-headers"] {
        let validator = validator(name);
        for example in examples(name) {
            let errors: Vec<_> = validator
                .iter_errors(&example)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
    }
}

#[test]
fn examples_survive_the_types() {
    for example in examples("image-ref") {
        let read = ImageRef::from_json(example.to_string().as_bytes()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&read.to_json()).unwrap(),
            example
        );
    }
    for example in examples("result") {
        let read = ResultEvent::from_json(example.to_string().as_bytes()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&read.to_json()).unwrap(),
            example
        );
    }
}

#[test]
fn a_field_the_schema_requires_is_required_by_the_types() {
    let whole = examples("image-ref").remove(0);
    for field in schema("image-ref")["required"].as_array().unwrap() {
        let mut part = whole.clone();
        part.as_object_mut()
            .unwrap()
            .remove(field.as_str().unwrap());
        assert!(
            ImageRef::from_json(part.to_string().as_bytes()).is_err(),
            "{field}"
        );
        assert!(!validator("image-ref").is_valid(&part), "{field}");
    }
}

#[test]
fn the_reasons_are_the_schemas() {
    let listed = schema("dead-letter-headers")["properties"][headers::REASON]["enum"].clone();
    let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(listed, json!(known));
}

#[test]
fn the_dead_letter_headers_are_the_schemas() {
    let described = schema("dead-letter-headers");
    let names = [
        headers::STAGE,
        headers::REASON,
        headers::ATTEMPTS,
        headers::SOURCE_TOPIC,
        headers::SOURCE_PARTITION,
        headers::SOURCE_OFFSET,
        headers::ERROR,
        headers::TRACEPARENT,
        headers::TRACESTATE,
        headers::REPLAYED_FROM,
        headers::VALUE_DROPPED,
        headers::KEY_DROPPED,
        headers::HEADERS_DROPPED,
    ];
    let mut described: Vec<_> = described["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut names = names.to_vec();
    described.sort_unstable();
    names.sort_unstable();
    assert_eq!(described, names);
}

prop_compose! {
    fn times()(
        notified_ms in 0i64..1 << 50,
        ingested_ms in proptest::option::of(0i64..1 << 50),
        preprocessed_ms in proptest::option::of(0i64..1 << 50),
        inferred_ms in proptest::option::of(0i64..1 << 50),
        postprocessed_ms in proptest::option::of(0i64..1 << 50),
    ) -> Times {
        Times { notified_ms, ingested_ms, preprocessed_ms, inferred_ms, postprocessed_ms }
    }
}

prop_compose! {
    fn image()(
        bucket in "[a-z]{3,9}",
        key in "\\PC{1,40}",
        version in proptest::option::of("[a-z]{1,9}"),
        etag in proptest::option::of("[0-9a-f]{32}"),
        size in proptest::option::of(any::<u32>()),
        event_time in proptest::option::of("[0-9]{4}"),
        times in times(),
    ) -> ImageRef {
        let id = ImageId::new(&bucket, &key, "revision");
        ImageRef { id, bucket, key, version, etag, size: size.map(u64::from), event_time, times }
    }
}

fn model() -> ModelInfo {
    ModelInfo {
        name: "m".into(),
        architecture: "resnet101".into(),
        weights_sha256: "a".repeat(64),
    }
}

fn labels() -> impl Strategy<Value = Vec<Label>> {
    let label = (any::<u32>(), "\\PC{0,20}", 0f32..=1f32);
    proptest::collection::vec(
        label.prop_map(|(class, label, probability)| Label {
            class,
            label,
            probability,
        }),
        1..6,
    )
}

proptest! {
    #[test]
    fn what_the_types_write_fits_the_schema(image in image(), labels in labels(), thumbnail in any::<bool>()) {
        let json = serde_json::from_slice::<Value>(&image.to_json()).unwrap();
        prop_assert!(validator("image-ref").is_valid(&json), "{json}");
        let thumbnail = thumbnail.then(|| Thumbnail { bucket: "b".into(), key: "k".into() });
        let event = ResultEvent { image, model: model(), labels, thumbnail };
        let json = serde_json::from_slice::<Value>(&event.to_json()).unwrap();
        prop_assert!(validator("result").is_valid(&json), "{json}");
        prop_assert_eq!(ResultEvent::from_json(&event.to_json()).unwrap(), event);
    }

    #[test]
    fn tensors_and_predictions_read_back(image in image(), labels in labels(), pixels in any::<[u8; 12]>()) {
        let tensor = TensorMessage {
            image: image.clone(),
            shape: [3, 2, 2],
            pixels: Pixels::U8(pixels.to_vec().into()),
            thumbnail: vec![1, 2, 3].into(),
            preprocessing: Preprocessing {
                size: [2, 2],
                ..Preprocessing::default()
            },
        };
        prop_assert_eq!(TensorMessage::decode(&tensor.encode().into()).unwrap(), tensor);
        let prediction = PredictionMessage { image, model: model(), labels, thumbnail: vec![].into() };
        prop_assert_eq!(PredictionMessage::decode(&prediction.encode().into()).unwrap(), prediction);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = bytes::Bytes::from(bytes);
        let _ = TensorMessage::decode(&bytes).map(|_| ());
        let _ = PredictionMessage::decode(&bytes).map(|_| ());
    }
}

#[test]
fn a_tensor_of_floats_reads_back() {
    let image = ImageRef::from_json(examples("image-ref")[0].to_string().as_bytes()).unwrap();
    let tensor = TensorMessage {
        image,
        shape: [3, 1, 1],
        pixels: Pixels::F32(vec![-1.5, 0.0, 2.25]),
        thumbnail: vec![].into(),
        preprocessing: Preprocessing::default(),
    };
    assert_eq!(
        TensorMessage::decode(&tensor.encode().into()).unwrap(),
        tensor
    );
}
