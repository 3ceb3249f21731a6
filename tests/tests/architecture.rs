//! Checks which crates may use which: the rules of ARCHITECTURE.md against cargo's metadata.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Normal (not development) dependencies of each workspace member.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |package: &Value| -> BTreeSet<String> {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (text(&package["name"]), of(package)))
        .collect()
}

fn internal(names: &BTreeSet<String>) -> BTreeSet<&str> {
    names
        .iter()
        .filter_map(|name| name.strip_prefix("sightline-"))
        .collect()
}

#[test]
fn crates_use_only_the_internal_crates_that_they_may() {
    let service = ["contracts", "service", "stream", "telemetry", "storage"];
    let allowed: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("manifest", vec![]),
        ("contracts", vec!["manifest"]),
        ("telemetry", vec![]),
        ("storage", vec![]),
        ("vision", vec!["manifest"]),
        ("sandbox", vec![]),
        ("convolution", vec![]),
        ("broker", vec![]),
        ("objectstore", vec![]),
        ("testkit", vec![]),
        ("simulation", vec![]),
        ("model", vec!["convolution", "manifest"]),
        ("stream", vec!["contracts"]),
        ("service", vec!["stream", "telemetry"]),
        ("ingest", service.to_vec()),
        (
            "preprocess",
            [&service[..], &["manifest", "vision", "sandbox"]].concat(),
        ),
        ("infer", [&service[..], &["manifest", "model"]].concat()),
        ("postprocess", service.to_vec()),
    ]);
    let found = dependencies();
    for (package, names) in &found {
        let name = package.strip_prefix("sightline-").unwrap_or(package);
        if matches!(name, "cli" | "e2e") {
            continue;
        }
        let may = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{package} is missing in the list"));
        let beyond: Vec<_> = internal(names)
            .into_iter()
            .filter(|name| !may.contains(name))
            .collect();
        assert!(beyond.is_empty(), "{package} must not use {beyond:?}");
    }
    let forbidden: Vec<_> = internal(&found["sightline-cli"])
        .into_iter()
        .filter(|name| *name == "testkit")
        .collect();
    assert!(
        forbidden.is_empty(),
        "the command line must not use {forbidden:?}"
    );
}

#[test]
fn heavy_libraries_are_used_only_by_the_crates_that_may() {
    let owners = [
        (
            "rdkafka",
            &["sightline-stream", "sightline-testkit", "sightline-e2e"][..],
        ),
        ("aws-sdk-s3", &["sightline-storage"]),
        ("candle-core", &["sightline-model", "sightline-convolution"]),
        ("image", &["sightline-vision"]),
        ("s3s", &["sightline-objectstore"]),
        ("seccompiler", &["sightline-sandbox"]),
        ("landlock", &["sightline-sandbox"]),
        (
            "kafka-protocol",
            &["sightline-broker", "sightline-testkit", "sightline-e2e"],
        ),
    ];
    for (package, names) in dependencies() {
        for (library, may) in owners {
            assert!(
                !names.contains(library) || may.contains(&package.as_str()),
                "{package} must not use {library}"
            );
        }
    }
}
