//! Another model than the bundled one, and a preprocess and an infer that run with different ones.

use crate::deployment::{Deployment, Service, scenes};
use sightline_contracts::Reason;
use sightline_manifest::{Resize, Source};
use sightline_storage::Objects;
use std::{fs, path::Path};

/// The bundled weights with a manifest of their own, which wants images stretched.
fn stretching(folder: &Path) {
    let mut manifest = Source::Bundled.manifest().unwrap();
    manifest.name = "stretching".into();
    manifest.preprocessing.resize = Resize::Stretch;
    let json = serde_json::to_vec(&manifest).unwrap();
    fs::write(folder.join("manifest.json"), json).unwrap();
    let weights = Source::Bundled.weights().unwrap();
    fs::write(folder.join("model.safetensors"), weights).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_for_another_model_are_dead_letters_whose_replay_preprocesses_the_images_again() {
    let deployment = Deployment::start("model").await;
    let folder = tempfile::tempdir().unwrap();
    stretching(folder.path());
    let in_folder = folder.path().to_str().unwrap();
    let start = |name, flags: &[&str]| {
        let service = deployment.service(name, "0", flags);
        service.await_ready();
        service
    };
    let _others = [start("ingest", &[]), start("postprocess", &[])];
    let _infer = start("infer", &["--model", in_folder]);
    let forgotten = start("preprocess", &[]);
    let scenes: Vec<_> = scenes().into_iter().take(4).collect();
    for (key, bytes) in &scenes {
        deployment.put(key, bytes.clone()).await;
    }
    let letters = deployment.await_dead_letters(scenes.len());
    for letter in &letters {
        assert_eq!(letter.reason, Some(Reason::WrongPreprocessing));
        assert_eq!(letter.stage.as_deref(), Some("infer"));
    }
    forgotten.stop();

    // The corrected preprocess reads the manifest where a deployment has it.
    deployment.store.create_bucket("models").await.unwrap();
    let manifest = fs::read(folder.path().join("manifest.json")).unwrap();
    let put = deployment
        .store
        .put("models", "stretching/manifest.json", manifest.into(), "");
    put.await.unwrap();
    let _corrected: Service = start("preprocess", &["--model", "s3://models/stretching/"]);
    let replayed = deployment.tool(&["dead-letters", "replay", "--all"]);
    assert!(replayed.status.success(), "{replayed:?}");
    let results = deployment.await_results(scenes.len());
    assert!(
        results
            .values()
            .all(|result| result.model.name == "stretching")
    );
    // The notification of the manifest is one of its own: ingest does not know its bucket.
    let reasons: Vec<_> = deployment
        .await_dead_letters(5)
        .into_iter()
        .map(|letter| letter.reason.unwrap())
        .collect();
    let rejected = |reason| reasons.iter().filter(|other| **other == reason).count();
    assert_eq!(rejected(Reason::WrongPreprocessing), 4, "{reasons:?}");
    assert_eq!(
        rejected(Reason::BucketNotAllowed),
        reasons.len() - 4,
        "{reasons:?}"
    );
}
