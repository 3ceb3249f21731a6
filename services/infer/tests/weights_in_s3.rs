//! Models from an S3 server.
#![allow(clippy::unwrap_used)]

use sightline_infer::weights::{download, source};
use sightline_manifest::{Location, Source};
use sightline_model::{Options, Precision, load};
use sightline_objectstore::{Config, ObjectStore};
use sightline_storage::{Credentials, Memory, Objects, StorageSettings, Store};
use std::{fs, path::Path};

const FILES: [&str; 3] = ["model.safetensors", "manifest.json", "int8.json"];

fn bundled(file: &str) -> Vec<u8> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/manifest/weights/road-scenes");
    fs::read(folder.join(file)).unwrap()
}

#[tokio::test]
async fn a_model_is_loaded_from_a_prefix_or_a_single_object() {
    let folder = tempfile::tempdir().unwrap();
    let keys = sightline_objectstore::Credentials {
        access_key: "key".into(),
        secret_key: "secret".into(),
    };
    let server = ObjectStore::start(Config::new(folder.path(), keys))
        .await
        .unwrap();
    let settings = StorageSettings {
        s3_endpoint: Some(format!("http://{}", server.local_addr())),
        credentials: Some(Credentials {
            access_key: "key".into(),
            secret_key: "secret".into(),
        }),
        ..StorageSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    store.create_bucket("models").await.unwrap();
    for file in FILES {
        store
            .put(
                "models",
                &format!("road/v1/{file}"),
                bundled(file).into(),
                "",
            )
            .await
            .unwrap();
    }
    let reference = load(&Source::Bundled, &Options::default()).unwrap();
    for text in ["s3://models/road/v1/", "s3://models/road/v1"] {
        let source = source(&text.parse().unwrap(), &settings).await.unwrap();
        let model = load(&source, &Options::default()).unwrap();
        assert_eq!(model.weights_sha256(), reference.weights_sha256());
        assert_eq!(model.manifest(), reference.manifest());
        // int8 uses the calibration of the same prefix, unless the processor lacks the instructions.
        let int8 = Options {
            precision: Precision::Int8,
            ..Options::default()
        };
        if let Err(error) = load(&source, &int8) {
            assert!(format!("{error:?}").contains("AVX512-VNNI"), "{error:?}");
        }
    }
    let single = "s3://models/road/v1/model.safetensors".parse().unwrap();
    let single = source(&single, &settings).await.unwrap();
    let model = load(&single, &Options::default()).unwrap();
    assert_eq!(model.weights_sha256(), reference.weights_sha256());
    assert_eq!(model.manifest().labels[0], "class 0");

    let missing = "s3://models/other/".parse().unwrap();
    let missing = source(&missing, &settings).await.unwrap_err();
    assert_eq!(
        format!("{missing:#}"),
        "weights in s3://models/other/ can't be downloaded: s3://models/other/manifest.json: not found"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn the_prefix_may_be_empty() {
    let store = Memory::default();
    store.create_bucket("b").await.unwrap();
    for file in FILES {
        store
            .put("b", file, bundled(file).into(), "")
            .await
            .unwrap();
    }
    let Ok(Location::S3(place)) = "s3://b/".parse() else {
        panic!("a bucket without a prefix")
    };
    let source = download(&store, &place).await.unwrap();
    assert_eq!(source.to_string(), "s3://b/");
    assert!(load(&source, &Options::default()).is_ok());
}

#[test]
fn texts_that_are_no_source_are_refused() {
    for text in ["s3://", "s3:///key", "gs://bucket/x", "hf:nobody"] {
        assert!(text.parse::<Location>().is_err(), "{text}");
    }
}
