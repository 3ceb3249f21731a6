//! Every architecture is inferred from its shapes, and both backends agree.

use crate::support::{self, Net};
use safetensors::Dtype;
use sightline_manifest::{Pixels, Source};
use sightline_model::{Input, Kernels, Model, Options, load};

const BASIC: bool = false;
const BOTTLENECK: bool = true;
const SIZE: usize = 65;

fn source(net: Net, dtype: Dtype) -> Source {
    let weights = support::file(&support::tensors(net, 7), dtype).into();
    Source::Bytes {
        name: "test".to_owned(),
        weights: Some(weights),
        manifest: Some(support::manifest(SIZE).into()),
        calibration: None,
    }
}

fn model(source: &Source, kernels: Option<Kernels>) -> Model {
    load(
        source,
        &Options {
            kernels,
            ..Options::default()
        },
    )
    .unwrap()
}

fn inputs() -> Vec<Input> {
    let shape = [3, SIZE, SIZE];
    let values = 3 * SIZE * SIZE;
    let bytes = |step: usize| {
        (0..values)
            .map(|n| (n * step % 251) as u8)
            .collect::<Vec<_>>()
    };
    let floats = (0..values).map(|n| (n % 17) as f32 / 8.0 - 1.0).collect();
    [
        Pixels::U8(bytes(7).into()),
        Pixels::F32(floats),
        Pixels::U8(bytes(13).into()),
    ]
    .map(|pixels| Input { shape, pixels })
    .into()
}

/// The largest difference, relative to the largest value.
fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let (a, b): (Vec<f32>, Vec<f32>) = (a.concat(), b.concat());
    assert_eq!(a.len(), b.len());
    let largest = b
        .iter()
        .fold(0.0, |largest: f32, value| largest.max(value.abs()));
    assert!(largest > 1e-3, "the logits say nothing");
    a.iter()
        .zip(&b)
        .fold(0.0, |largest: f32, (a, b)| largest.max((a - b).abs()))
        / largest
}

#[test]
fn five_depths_of_any_width_agree_with_candle() {
    let cases = [
        ("resnet18", Net::new(BASIC, [2, 2, 2, 2], 8, 10)),
        ("resnet34", Net::new(BASIC, [3, 4, 6, 3], 6, 3)),
        ("resnet50", Net::new(BOTTLENECK, [3, 4, 6, 3], 8, 10)),
        ("resnet101", Net::new(BOTTLENECK, [3, 4, 23, 3], 8, 16)),
        ("resnet152", Net::new(BOTTLENECK, [3, 8, 36, 3], 4, 1)),
        (
            "resnet50",
            Net {
                width: 16,
                ..Net::new(BOTTLENECK, [3, 4, 6, 3], 8, 5)
            },
        ),
    ];
    for (name, net) in cases {
        let source = source(net, Dtype::F32);
        let (fused, stock) = (model(&source, None), model(&source, Some(Kernels::Candle)));
        assert_eq!(fused.architecture().to_string(), name);
        assert_eq!(fused.architecture().classes, net.classes);
        assert_eq!(fused.manifest().labels.len(), net.classes);
        let inputs = inputs();
        let (logits, reference) = (
            fused.logits(&inputs).unwrap(),
            stock.logits(&inputs).unwrap(),
        );
        let difference = difference(&logits, &reference);
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn an_image_has_the_same_logits_alone_and_in_any_batch() {
    let model = model(
        &source(Net::new(BOTTLENECK, [3, 4, 6, 3], 8, 10), Dtype::F32),
        None,
    );
    let inputs = inputs();
    let together = model.logits(&inputs).unwrap();
    for (input, logits) in inputs.iter().zip(together) {
        let alone = model.logits(std::slice::from_ref(input)).unwrap();
        assert!(difference(&alone, &[logits]) < 1e-5);
    }
    assert_eq!(model.logits(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn groups_are_computed_by_candle() {
    let net = Net {
        groups: 4,
        width: 16,
        ..Net::new(BOTTLENECK, [3, 4, 6, 3], 8, 10)
    };
    let model = model(&source(net, Dtype::F32), None);
    assert_eq!(model.architecture().groups, 4);
    assert_eq!(model.logits(&inputs()).unwrap()[0].len(), 10);
}

#[test]
fn weights_of_sixteen_bits_are_widened() {
    let net = Net::new(BASIC, [2, 2, 2, 2], 8, 10);
    let reference = model(&source(net, Dtype::F32), None)
        .logits(&inputs())
        .unwrap();
    for (dtype, tolerance) in [(Dtype::F16, 0.02), (Dtype::BF16, 0.1)] {
        let logits = model(&source(net, dtype), None).logits(&inputs()).unwrap();
        let difference = difference(&logits, &reference);
        assert!(difference < tolerance, "{dtype:?}: {difference}");
    }
}
