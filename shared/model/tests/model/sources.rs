//! The model inside the binary, and weights on disk.

use crate::support::{self, Net};
use safetensors::Dtype;
use sightline_manifest::{self as manifest, Pixels, Source};
use sightline_model::{BatchSettings, Device, Engine, Error, Input, Options, engine, load};
use std::{fs, time::Duration};

const BASIC: bool = false;

#[tokio::test]
async fn the_bundled_model_answers_through_its_engine() {
    let model = load(&Source::Bundled, &Options::default()).unwrap();
    assert_eq!(model.architecture().to_string(), "resnet101");
    assert_eq!(model.architecture().stem, 8);
    assert_eq!(model.input_shape(), [3, 224, 224]);
    assert_eq!(model.weights_sha256().len(), 64);
    assert!(model.manifest().labels.contains(&"stop".to_owned()));
    let settings = BatchSettings {
        max_batch: 4,
        max_wait: Duration::from_millis(5),
        max_queue: 8,
        top_k: 3,
    };
    let engine = Engine::start(model, settings, |_| {}).unwrap();
    let grey = Input {
        shape: [3, 224, 224],
        pixels: Pixels::U8(vec![128; 3 * 224 * 224].into()),
    };
    let prediction = engine.classify(grey.clone()).await.unwrap();
    assert_eq!((prediction.classes.len(), prediction.batch_size), (3, 1));
    assert!(prediction.probabilities.is_sorted_by(|a, b| a >= b));
    assert!(engine.alive());

    let flat = Input {
        shape: [3, 224, 223],
        ..grey.clone()
    };
    assert!(matches!(
        engine.classify(flat).await,
        Err(engine::Error::WrongShape(_))
    ));
    let short = Input {
        pixels: Pixels::F32(vec![0.0; 7]),
        ..grey
    };
    let text = engine.classify(short).await.unwrap_err().to_string();
    assert_eq!(
        text,
        "image is [3, 224, 224] with 7 values, the model takes [3, 224, 224]"
    );
}

#[test]
fn a_folder_has_a_manifest_and_a_file_the_preprocessing_of_imagenet() {
    let folder = tempfile::tempdir().unwrap();
    let weights = support::file(
        &support::tensors(Net::new(BASIC, [2, 2, 2, 2], 4, 3), 1),
        Dtype::F32,
    );
    let file = folder.path().join("model.safetensors");
    fs::write(&file, weights).unwrap();
    let load = |path: &std::path::Path| {
        load(
            &path.to_str().unwrap().parse().unwrap(),
            &Options::default(),
        )
    };

    let bare = load(&file).unwrap();
    assert_eq!(bare.manifest().name, "model");
    assert_eq!(bare.input_shape(), [3, 224, 224]);
    assert_eq!(bare.manifest().labels, ["class 0", "class 1", "class 2"]);

    let missing = load(folder.path()).unwrap_err();
    assert!(missing.to_string().ends_with("manifest.json"), "{missing}");
    fs::write(folder.path().join("manifest.json"), support::manifest(64)).unwrap();
    assert_eq!(load(folder.path()).unwrap().input_shape(), [3, 64, 64]);
    fs::write(folder.path().join("manifest.json"), "{").unwrap();
    assert!(matches!(
        load(folder.path()),
        Err(Error::Source(manifest::Error::Invalid { .. }))
    ));
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    assert_eq!("cuda:3".parse(), Ok(Device::Cuda(3)));
    assert!("tpu".parse::<Device>().is_err());
    if cfg!(not(feature = "cuda")) {
        let options = Options {
            device: Device::Cuda(0),
            ..Options::default()
        };
        let text = load(&Source::Bundled, &options).unwrap_err().to_string();
        assert_eq!(
            text,
            "device cuda:0 is not usable: this binary was built without the feature `cuda`"
        );
    }
}
