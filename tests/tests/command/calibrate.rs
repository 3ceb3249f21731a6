//! `sightline calibrate`, and int8 with the file that it writes.

use crate::{sightline, tests};
use sightline_model::Calibration;
use std::{fs, path::Path, process::Output};

fn run(arguments: &[&str]) -> Output {
    sightline().args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Copies the bundled weights into a folder, without their calibration.
fn weights(folder: &Path) {
    let bundled =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/manifest/weights/road-scenes");
    for file in ["model.safetensors", "manifest.json"] {
        fs::copy(bundled.join(file), folder.join(file)).unwrap();
    }
}

#[test]
fn int8_finds_the_calibration_ranges_beside_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    weights(folder.path());
    let model = folder.path().to_str().unwrap();
    let samples = tests("samples");
    let samples = samples.to_str().unwrap();
    let classify = [
        "classify",
        "--json",
        "--model",
        model,
        "--precision",
        "int8",
        samples,
    ];
    let uncalibrated = run(&classify);
    assert_eq!(uncalibrated.status.code(), Some(1));
    let text = errors(&uncalibrated);
    assert!(
        text.contains(&format!("sightline calibrate --model {model}")),
        "{text}"
    );

    let broken = tests("fixtures/broken");
    let measured = run(&[
        "calibrate",
        "--model",
        model,
        samples,
        broken.to_str().unwrap(),
    ]);
    let text = errors(&measured);
    assert!(measured.status.success(), "{text}");
    assert!(text.contains("truncated.jpg left out"), "{text}");
    let file = folder.path().join("int8.json");
    let calibration = Calibration::parse("it", &fs::read(&file).unwrap()).unwrap();
    assert_eq!(calibration.images, fs::read_dir(samples).unwrap().count());
    assert!(calibration.ranges["layer1.0.downsample.0"][0] < 0.0);
    assert_eq!(calibration.ranges["conv1"][0], 0.0);

    let classified = run(&classify);
    let supported = !errors(&classified).contains("AVX512-VNNI");
    assert_eq!(
        classified.status.success(),
        supported,
        "{}",
        errors(&classified)
    );

    let other = calibration.weights_sha256.replace(|_: char| true, "0");
    let for_others = Calibration {
        weights_sha256: other,
        ..calibration
    };
    fs::write(&file, serde_json::to_vec(&for_others).unwrap()).unwrap();
    let refused = errors(&run(&classify));
    assert!(
        refused.contains("it was made for weights with SHA-256 000"),
        "{refused}"
    );
}

#[test]
fn calibration_ranges_of_the_bundled_weights_are_printed() {
    let image = tests("samples");
    let printed = run(&["calibrate", image.to_str().unwrap()]);
    assert!(printed.status.success(), "{}", errors(&printed));
    let calibration = Calibration::parse("it", &printed.stdout).unwrap();
    assert_eq!(calibration.ranges.len(), 104);
    let none = run(&[
        "calibrate",
        tests("fixtures/broken/empty.jpg").to_str().unwrap(),
    ]);
    assert_eq!(none.status.code(), Some(1));
    assert!(
        errors(&none).contains("no image to measure on"),
        "{}",
        errors(&none)
    );
}
