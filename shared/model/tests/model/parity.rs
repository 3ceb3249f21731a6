//! Logits as PyTorch computes them; `parity/make.py` says how the references were made.

use safetensors::SafeTensors;
use sightline_manifest::{Pixels, Source};
use sightline_model::{Calibrator, Input, Kernels, Options, Precision, load, random::Net};
use std::{fs, path::Path};

const SHAPE: [usize; 3] = [3, 96, 80];

fn fixture(file: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/parity")
            .join(file),
    )
    .unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn top(logits: &[f32]) -> usize {
    (0..logits.len())
        .max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
        .unwrap()
}

#[test]
fn logits_are_pytorchs() {
    let reference = fixture("reference.safetensors");
    let reference = SafeTensors::deserialize(&reference).unwrap();
    let images = reference.tensor("images").unwrap();
    let inputs: Vec<Input> = images
        .data()
        .chunks_exact(SHAPE.iter().product())
        .map(|image| Input {
            shape: SHAPE,
            pixels: Pixels::U8(image.to_vec().into()),
        })
        .collect();
    let manifest = serde_json::json!({
        "name": "parity",
        "labels": [],
        "preprocessing": { "size": SHAPE[1..], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225] },
    });
    for depth in ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] {
        let weights = fixture(&format!("{depth}.safetensors")).into();
        let manifest = Some(manifest.to_string().into());
        let source = Source::Bytes {
            name: depth.to_owned(),
            weights: Some(weights),
            manifest,
            calibration: None,
        };
        let expected = floats(reference.tensor(depth).unwrap().data());
        let largest = expected.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        for kernels in [Kernels::Fused, Kernels::Candle] {
            let model = load(
                &source,
                &Options {
                    kernels: Some(kernels),
                    ..Options::default()
                },
            )
            .unwrap();
            assert_eq!(model.architecture().to_string(), depth);
            let rows = model.logits(&inputs).unwrap();
            assert_eq!(rows.len(), 3);
            for (logits, expected) in rows.iter().zip(expected.chunks_exact(7)) {
                assert_eq!(top(logits), top(expected));
                for (a, b) in logits.iter().zip(expected) {
                    assert!(
                        (a - b).abs() <= 1e-3 * largest,
                        "{depth} {kernels:?}: {a} instead of {b}"
                    );
                }
            }
        }
    }
}

/// The pictures that users see first: `tests/fixtures/parity/README.md`.
#[test]
fn the_bundled_models_logits_are_pytorchs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
    let read = |file: &str| fs::read(folder.join(file)).unwrap();
    let (pixels, logits) = (read("preprocess.safetensors"), read("logits.safetensors"));
    let pixels = SafeTensors::deserialize(&pixels).unwrap();
    let logits = SafeTensors::deserialize(&logits).unwrap();
    let model = load(&Source::Bundled, &Options::default()).unwrap();
    assert_eq!(pixels.len(), 8);
    for (name, image) in pixels.tensors() {
        let input = Input {
            shape: model.input_shape(),
            pixels: Pixels::U8(image.data().to_vec().into()),
        };
        let found = model.logits(&[input]).unwrap().remove(0);
        let expected = floats(logits.tensor(&name).unwrap().data());
        let largest = expected.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        assert_eq!(top(&found), top(&expected), "{name}");
        for (a, b) in found.iter().zip(&expected) {
            assert!(
                (a - b).abs() <= 1e-3 * largest,
                "{name}: {a} instead of {b}"
            );
        }
    }
}

/// On a processor that multiplies bf16, labels are those of f32; on another, asking for it is an error that says why.
#[test]
fn bf16_agrees_or_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
    let pixels = fs::read(folder.join("preprocess.safetensors")).unwrap();
    let pixels = SafeTensors::deserialize(&pixels).unwrap();
    let options = Options {
        precision: Precision::Bf16,
        ..Options::default()
    };
    let half = match load(&Source::Bundled, &options) {
        Ok(model) => model,
        Err(error) => {
            let error = format!("{error:?}");
            assert!(error.contains("AVX512-BF16"), "{error}");
            return;
        }
    };
    let whole = load(&Source::Bundled, &Options::default()).unwrap();
    for (name, image) in pixels.tensors() {
        let input = Input {
            shape: whole.input_shape(),
            pixels: Pixels::U8(image.data().to_vec().into()),
        };
        let logits = |model: &sightline_model::Model| {
            let inputs = std::slice::from_ref(&input);
            model.logits(inputs).unwrap().remove(0)
        };
        let (found, expected) = (logits(&half), logits(&whole));
        let largest = expected.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        assert_eq!(top(&found), top(&expected), "{name}");
        for (a, b) in found.iter().zip(&expected) {
            assert!(
                (a - b).abs() <= 0.05 * largest,
                "{name}: {a} instead of {b}"
            );
        }
    }
    let candle = Options {
        kernels: Some(Kernels::Candle),
        ..options
    };
    let error = format!("{:?}", load(&Source::Bundled, &candle).unwrap_err());
    assert!(error.contains("bf16"), "{error}");
}

/// Ranges measured on a handful of images are enough for made-up weights to give much the same logits in bytes.
#[test]
fn int8_is_near_or_is_refused() {
    let net = Net::new(true, [3, 4, 6, 3], 16, 12);
    let source = net.source(9);
    let noise = |seed: usize| Input {
        shape: [3, 224, 224],
        pixels: Pixels::U8(
            (0..3 * 224 * 224)
                .map(|i: usize| ((i + seed).wrapping_mul(2_654_435_761) >> (13 + seed)) as u8)
                .collect::<Vec<u8>>()
                .into(),
        ),
    };
    let mut options = Options {
        precision: Precision::Int8,
        ..Options::default()
    };
    let error = load(&source, &options).unwrap_err().to_string();
    assert!(
        error.contains("sightline calibrate --model random"),
        "{error}"
    );
    let mut calibrator = Calibrator::new(&source, None).unwrap();
    for seed in 0..4 {
        calibrator.observe(&noise(seed)).unwrap();
    }
    options.calibration = Some(calibrator.finish());
    let bytes = match load(&source, &options) {
        Ok(model) => model,
        Err(error) => {
            let error = format!("{error:?}");
            assert!(error.contains("AVX512-VNNI"), "{error}");
            return;
        }
    };
    let whole = load(&source, &Options::default()).unwrap();
    for seed in 0..8 {
        let inputs = [noise(seed)];
        let (found, expected) = (
            bytes.logits(&inputs).unwrap().remove(0),
            whole.logits(&inputs).unwrap().remove(0),
        );
        let largest = expected.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 0.1 * largest, "{seed}: {a} instead of {b}");
        }
    }
}
