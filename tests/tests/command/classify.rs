//! `sightline classify` on the files of `tests/`.

use crate::{sightline, tests};
use sightline_contracts::ResultEvent;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Output, Stdio},
};

fn classify(flags: &[&str], paths: &[&str]) -> Output {
    let paths = paths.iter().map(|path| tests(path));
    let child = sightline()
        .arg("classify")
        .args(flags)
        .args(paths)
        .stdin(Stdio::null())
        .output();
    child.expect("the binary starts")
}

fn events(output: &Output) -> Vec<ResultEvent> {
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| ResultEvent::from_json(line).expect("every line on stdout is a result"))
        .collect()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The label in a drawn file's name.
fn drawn(key: &str) -> String {
    let name = Path::new(key).file_name().unwrap().to_str().unwrap();
    name.split("__").next().unwrap().replace('-', " ")
}

fn right(events: &[ResultEvent]) -> usize {
    events
        .iter()
        .filter(|event| event.labels[0].label == drawn(&event.image.key))
        .count()
}

fn files(folder: &str) -> usize {
    fs::read_dir(tests(folder)).unwrap().count()
}

#[test]
fn every_sample_is_classified_correctly() {
    let output = classify(&["--json"], &["samples"]);
    assert!(output.status.success(), "{}", errors(&output));
    let events = events(&output);
    assert_eq!(events.len(), files("samples"));
    let wrong: Vec<_> = events
        .iter()
        .filter(|e| e.labels[0].label != drawn(&e.image.key))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn at_least_95_percent_of_120_scenes_are_classified_correctly() {
    let output = classify(&["--json"], &["fixtures/scenes"]);
    assert!(output.status.success(), "{}", errors(&output));
    let events = events(&output);
    assert_eq!(events.len(), 120);
    assert!(right(&events) >= 114, "{} of 120", right(&events));
}

/// The folder of scenes, or a larger one that `SIGHTLINE_TEST_SCENES` names.
fn scenes() -> String {
    std::env::var("SIGHTLINE_TEST_SCENES").unwrap_or_else(|_| "fixtures/scenes".to_owned())
}

/// Checks that a precision gives at least this share of f32's labels. On a processor without the instructions, the command
/// must fail with an error that names them.
fn gives_the_labels_of_f32(precision: &str, instructions: &str, least_share: f64) {
    let found = classify(&["--json", "--precision", precision], &[&scenes()]);
    if !found.status.success() {
        assert!(errors(&found).contains(instructions), "{}", errors(&found));
        return;
    }
    let labels = |output: &Output| -> BTreeMap<String, String> {
        let label = |event: &ResultEvent| event.labels[0].label.clone();
        let events = events(output);
        events
            .iter()
            .map(|e| (e.image.key.clone(), label(e)))
            .collect()
    };
    let (found, f32s) = (labels(&found), labels(&classify(&["--json"], &[&scenes()])));
    let same = found
        .iter()
        .filter(|(key, label)| f32s[*key] == **label)
        .count();
    let all = f32s.len();
    eprintln!("{precision}: {same} of {all} labels as in f32");
    assert!(
        all > 0 && same as f64 >= least_share * all as f64,
        "{same} of {all}"
    );
}

#[test]
fn bf16_gives_the_labels_of_f32_or_is_refused() {
    gives_the_labels_of_f32("bf16", "AVX512-BF16", 0.995);
}

#[test]
fn int8_gives_the_labels_of_f32_or_is_refused() {
    gives_the_labels_of_f32("int8", "AVX512-VNNI", 0.99);
}

#[test]
fn a_bad_file_gets_a_line_with_its_reason_and_the_others_are_classified() {
    let output = classify(&["--json"], &["fixtures/broken", "samples"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(events(&output).len(), files("samples"));
    let errors = errors(&output);
    for (file, reason) in [
        ("truncated.jpg", "corrupt"),
        ("empty.jpg", "empty"),
        ("text.jpg", "unsupported-format"),
    ] {
        let line = errors
            .lines()
            .find(|line| line.contains(file))
            .unwrap_or_else(|| panic!("{file} in {errors}"));
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn the_table_names_files_labels_and_the_model() {
    let output = classify(&[], &["samples", "fixtures/broken/empty.jpg"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    for text in [
        "probability",
        "stop__0024-cmyk.jpg",
        "traffic light",
        "✗ empty",
        "road-scenes-resnet101-w8 (resnet101",
    ] {
        assert!(table.contains(text), "{text:?} in\n{table}");
    }
}

#[test]
fn a_missing_path_is_an_error() {
    let output = classify(&[], &["no/such/folder"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("no/such/folder"),
        "{}",
        errors(&output)
    );
    assert!(output.stdout.is_empty());
}
