//! Wrong settings: the program prints every problem and exits with 2.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn infer(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_infer"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn all_wrong_values_are_reported_at_once() {
    let wrong = [
        ("--model", "ftp://x"),
        ("--weights-sha256", "abc"),
        ("--device", "tpu"),
        ("--threads", "0"),
        ("--max-batch", "0"),
    ];
    let arguments: Vec<&str> = wrong
        .iter()
        .flat_map(|(name, value)| [*name, *value])
        .collect();
    let (status, _, errors) = infer(&arguments);
    assert_eq!(status, Some(2), "{errors}");
    for (name, _) in wrong {
        assert!(errors.contains(name), "{name} in {errors}");
    }
    assert!(errors.contains("5 settings are wrong"), "{errors}");
}

#[test]
fn missing_files_are_reported_before_anything_starts() {
    let (status, _, errors) = infer(&[
        "--model",
        "/nowhere/weights",
        "--labels",
        "/nowhere/labels.txt",
    ]);
    assert_eq!(status, Some(2), "{errors}");
    assert!(
        errors.contains("--model: /nowhere/weights is not a folder"),
        "{errors}"
    );
    assert!(
        errors.contains("--labels: /nowhere/labels.txt is not a file"),
        "{errors}"
    );
}

#[test]
fn help_lists_every_setting_with_its_variable() {
    let (status, help, _) = infer(&["--help"]);
    assert_eq!(status, Some(0));
    for text in [
        "--model",
        "SIGHTLINE_MODEL",
        "--weights-sha256",
        "--max-wait",
        "--kafka-bootstrap",
        "--s3-endpoint",
    ] {
        assert!(help.contains(text), "{text} in {help}");
    }
}
