//! Pixels and tensors against Pillow's; `fixtures/make.py` says how the references were made.

use safetensors::SafeTensors;
use sightline_manifest::{Interpolation, Preprocessing, Resize};
use sightline_vision::{Limits, Picture, decode, tensor};
use std::{fs, path::PathBuf};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pictures that users see first, and what Pillow and torchvision make of them: `tests/fixtures/parity/README.md`.
#[test]
fn samples_are_torchvision_s() {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let bytes = fs::read(tests.join("fixtures/parity/preprocess.safetensors")).unwrap();
    let references = SafeTensors::deserialize(&bytes).unwrap();
    let mut failed = Vec::new();
    for (name, reference) in references.tensors() {
        let picture = decode(
            &fs::read(tests.join("samples").join(&name)).unwrap(),
            &Limits::default(),
        )
        .unwrap();
        let tensor = tensor(&picture, &Preprocessing::default());
        let (beyond, largest) = difference(&tensor.data, reference.data(), 1);
        println!(
            "{name}: {:.4} % differ by more than 1, at most {largest}",
            100.0 * beyond
        );
        if beyond > 0.001 {
            failed.push((name, beyond, largest));
        }
    }
    assert!(
        failed.is_empty(),
        "more than 0.1 % of the values differ by more than 1: {failed:?}"
    );
}

fn picture(name: &str) -> Picture {
    decode(&fixture(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// The share of values that differ by more than `tolerance`, and the largest difference.
fn difference(ours: &[u8], theirs: &[u8], tolerance: u8) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let distances = || ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let beyond = distances().filter(|d| *d > tolerance).count();
    (
        beyond as f64 / ours.len() as f64,
        distances().max().unwrap_or(0),
    )
}

#[test]
fn pixels_are_pillow_s() {
    let bytes = fixture("reference.safetensors");
    let references = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, reference) in references.tensors() {
        let Some(file) = name.strip_prefix("pixels/") else {
            continue;
        };
        let picture = picture(file);
        let size = [picture.height() as usize, picture.width() as usize, 3];
        assert_eq!(reference.shape(), size, "{file}");
        let (beyond, largest) = difference(picture.rgb(), reference.data(), 0);
        println!(
            "{file}: {:.3} % differ, by at most {largest}",
            100.0 * beyond
        );
        // Inverse cosine transform, upsampling of chroma and colour conversion are each rounded in their own way.
        let allowed = match file {
            // 5 and 6 bits to 8, where Pillow cuts and the decoder rounds.
            "bitfields.bmp" => 1,
            _ if file.ends_with(".jpg") || file == "lossy.webp" => 6,
            _ => 0,
        };
        assert!(largest <= allowed, "{file}: differs by {largest}");
        let (beyond, _) = difference(picture.rgb(), reference.data(), 2);
        assert!(
            beyond <= 0.01,
            "{file}: {beyond} of the values differ by more than 2"
        );
        compared += 1;
    }
    assert!(compared >= 47, "{compared}");
}

#[test]
fn tensors_are_torchvision_s() {
    let bytes = fixture("reference.safetensors");
    let references = SafeTensors::deserialize(&bytes).unwrap();
    let plain = Preprocessing {
        size: [112, 112],
        ..Preprocessing::default()
    };
    let bicubic = Preprocessing {
        interpolation: Interpolation::Bicubic,
        ..plain.clone()
    };
    let stretch = Preprocessing {
        resize: Resize::Stretch,
        ..plain.clone()
    };
    // The decoder enlarges halved colour with a rounding of its own; only baseline files are spared it
    // (`jpeg::halved`).
    let progressive = 0.01;
    for (name, preprocessing, allowed) in [
        ("tensor/landscape.jpg", &plain, 0.001),
        ("tensor/portrait.jpg", &plain, progressive),
        ("tensor/enlarged.png", &plain, 0.001),
        ("bicubic/enlarged.png", &bicubic, 0.001),
        ("stretch/landscape.jpg", &stretch, 0.001),
    ] {
        let reference = references.tensor(name).unwrap();
        let (_, file) = name.split_once('/').unwrap();
        let tensor = tensor(&picture(file), preprocessing);
        assert_eq!(reference.shape(), tensor.shape, "{name}");
        let (beyond, largest) = difference(&tensor.data, reference.data(), 1);
        println!(
            "{name}: {:.4} % differ by more than 1, at most {largest}",
            100.0 * beyond
        );
        assert!(
            beyond <= allowed && largest <= 2,
            "{name}: {beyond} differ by more than 1, at most {largest}"
        );
    }
}
