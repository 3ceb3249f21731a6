//! Weights of another architecture, or damaged ones: the error names the first tensor that differs.

use crate::support::{self, Net, Tensors};
use safetensors::Dtype;
use sightline_manifest::Source;
use sightline_model::{Error, Model, Options, load};

const BASIC: bool = false;
const BOTTLENECK: bool = true;

fn tensors() -> Tensors {
    support::tensors(Net::new(BOTTLENECK, [3, 4, 6, 3], 4, 10), 1)
}

fn load_bytes(weights: Vec<u8>, options: &Options) -> Result<Model, Error> {
    let manifest = Some(support::manifest(32).into());
    load(
        &Source::Bytes {
            name: "test".to_owned(),
            weights: Some(weights.into()),
            manifest,
            calibration: None,
        },
        options,
    )
}

fn refusal(change: impl FnOnce(&mut Tensors)) -> String {
    let mut tensors = tensors();
    change(&mut tensors);
    load_bytes(support::file(&tensors, Dtype::F32), &Options::default())
        .unwrap_err()
        .to_string()
}

fn rename(tensors: &mut Tensors, name: impl Fn(&str) -> String) {
    *tensors = std::mem::take(tensors)
        .into_iter()
        .map(|(old, tensor)| (name(&old), tensor))
        .collect();
}

#[test]
fn the_first_tensor_that_is_missing_is_named() {
    let text = refusal(|tensors| {
        tensors.remove("layer3.4.bn2.running_mean");
        tensors.remove("layer4.0.conv1.weight");
    });
    let expected = "weights don't fit resnet50: tensor \"layer3.4.bn2.running_mean\" is missing, expected [16]";
    assert_eq!(text, expected);
    let block = refusal(|tensors| tensors.retain(|name, _| !name.starts_with("layer3.5.")));
    assert!(
        block.contains(
            "resnet50: tensor \"layer3.5.conv1.weight\" is missing, expected [16, 64, 1, 1]"
        ),
        "{block}"
    );
    let other = refusal(|tensors| rename(tensors, |name| format!("features.{name}")));
    assert!(other.contains("\"conv1.weight\" is missing"), "{other}");
}

#[test]
fn the_first_tensor_of_another_shape_is_named() {
    let text = refusal(|tensors| {
        tensors.insert(
            "layer2.1.conv2.weight".to_owned(),
            (vec![8, 8, 5, 5], vec![0.0; 1600]),
        );
    });
    assert_eq!(
        text,
        "weights don't fit resnet50: tensor \"layer2.1.conv2.weight\" is [8, 8, 5, 5], expected [8, 8, 3, 3]"
    );
    let head = refusal(|tensors| {
        tensors.insert("fc.weight".to_owned(), (vec![10, 64], vec![0.0; 640]));
    });
    assert!(
        head.contains("\"fc.weight\" is [10, 64], expected [10, 128]"),
        "{head}"
    );
}

#[test]
fn a_tensor_too_many_is_named() {
    let text = refusal(|tensors| {
        tensors.insert("layer1.0.se.fc1.weight".to_owned(), (vec![1], vec![0.0]));
    });
    assert!(
        text.contains("\"layer1.0.se.fc1.weight\" is there, expected no such tensor"),
        "{text}"
    );
}

#[test]
fn values_that_are_no_numbers_are_named() {
    let infinite =
        refusal(|tensors| tensors.get_mut("layer1.2.bn1.weight").unwrap().1[3] = f32::INFINITY);
    assert!(
        infinite.contains("\"layer1.2.bn1.weight\" is not finite (inf)"),
        "{infinite}"
    );
    let negative = refusal(|tensors| tensors.get_mut("bn1.running_var").unwrap().1[0] = -1.0);
    assert!(
        negative.contains("\"bn1.running_var\" is negative (-1)"),
        "{negative}"
    );
}

#[test]
fn what_wrappers_and_timm_add_does_no_harm() {
    for prefix in ["module.", "model."] {
        let mut tensors = tensors();
        tensors.insert("bn1.num_batches_tracked".to_owned(), (vec![1], vec![9.0]));
        rename(&mut tensors, |name| format!("{prefix}{name}"));
        let model = load_bytes(support::file(&tensors, Dtype::F32), &Options::default()).unwrap();
        assert_eq!(model.architecture().to_string(), "resnet50");
    }
}

#[test]
fn integers_and_noise_are_no_weights() {
    let mut shapes = support::tensors(Net::new(BASIC, [2, 2, 2, 2], 4, 2), 1);
    let file = support::file(&shapes, Dtype::I32);
    let text = load_bytes(file, &Options::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("\"conv1.weight\" is I32"), "{text}");
    shapes.clear();
    for bytes in [
        Vec::new(),
        vec![0xff; 100],
        support::file(&shapes, Dtype::F32),
    ] {
        assert!(load_bytes(bytes, &Options::default()).is_err());
    }
}

#[test]
fn another_digest_is_refused() {
    let file = support::file(&tensors(), Dtype::F32);
    let digest = load_bytes(file.clone(), &Options::default())
        .unwrap()
        .weights_sha256()
        .to_owned();
    let expecting = |sha256: &str| Options {
        sha256: Some(sha256.to_owned()),
        ..Options::default()
    };
    assert!(load_bytes(file.clone(), &expecting(&digest.to_uppercase())).is_ok());
    let wrong = load_bytes(file, &expecting(&"0".repeat(64))).unwrap_err();
    assert!(
        matches!(&wrong, Error::Digest { found, .. } if *found == digest),
        "{wrong}"
    );
}

#[test]
fn labels_must_be_as_many_as_the_classes() {
    let file = support::file(&tensors(), Dtype::F32);
    let labelled = |count: usize| Options {
        labels: Some(vec!["cat".to_owned(); count]),
        ..Options::default()
    };
    assert_eq!(
        load_bytes(file.clone(), &labelled(10))
            .unwrap()
            .manifest()
            .labels[9],
        "cat"
    );
    let text = load_bytes(file, &labelled(9)).unwrap_err().to_string();
    assert!(text.contains("9 labels for the 10 classes"), "{text}");
}
