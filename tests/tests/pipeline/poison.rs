//! Bad input becomes a dead letter with its reason, and other images are not affected.

use crate::deployment::{BUCKET, Deployment, file};
use sightline_contracts::{Reason, Topic};
use sightline_storage::Objects;
use std::collections::BTreeSet;

/// A notification as MinIO writes it.
fn notification(bucket: &str, key: &str, size: u64) -> String {
    format!(
        r#"{{"Records":[{{"eventName":"s3:ObjectCreated:Put","s3":{{"bucket":{{"name":"{bucket}"}},"object":{{"key":"{key}","size":{size},"sequencer":"1"}}}}}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_is_a_dead_letter_and_the_other_images_have_results() {
    let deployment = Deployment::start("poison").await;
    let _services = deployment.services(|_| Vec::new());
    let good = file("samples/bus__0018.jpg");
    let bad_objects = [
        ("truncated.jpg", "preprocess", Reason::Corrupt),
        ("empty.jpg", "preprocess", Reason::Empty),
        ("text.jpg", "preprocess", Reason::UnsupportedFormat),
    ];
    let bad_messages = [
        (
            Topic::Ingest,
            "no json".to_owned(),
            "ingest",
            Reason::Malformed,
        ),
        (Topic::Ingest, "[1]".to_owned(), "ingest", Reason::Malformed),
        (
            Topic::Ingest,
            notification("other", "a", 1),
            "ingest",
            Reason::BucketNotAllowed,
        ),
        (
            Topic::Ingest,
            notification(BUCKET, "a%00b", 1),
            "ingest",
            Reason::InvalidKey,
        ),
        (
            Topic::Ingest,
            notification(BUCKET, "huge", 1 << 40),
            "ingest",
            Reason::TooLarge,
        ),
        (
            Topic::Ingest,
            notification(BUCKET, "gone.jpg", 5),
            "preprocess",
            Reason::NotFound,
        ),
        (
            Topic::Images,
            "{}".to_owned(),
            "preprocess",
            Reason::Malformed,
        ),
        (
            Topic::Tensors,
            "no safetensors".to_owned(),
            "infer",
            Reason::Malformed,
        ),
        (
            Topic::Predictions,
            "\0\0\0".to_owned(),
            "postprocess",
            Reason::Malformed,
        ),
    ];
    let mut expected = BTreeSet::new();
    let mut good_images = 0;
    for (name, stage, reason) in bad_objects {
        deployment
            .put(&format!("good-{good_images}"), good.clone())
            .await;
        deployment
            .put(name, file(&format!("fixtures/broken/{name}")))
            .await;
        good_images += 1;
        expected.insert((stage.to_owned(), reason));
    }
    for (topic, value, stage, reason) in bad_messages {
        deployment
            .put(&format!("good-{good_images}"), good.clone())
            .await;
        deployment.publish(topic, value).await;
        good_images += 1;
        expected.insert((stage.to_owned(), reason));
    }
    let letters = deployment.await_dead_letters(good_images);
    let found: BTreeSet<_> = letters
        .iter()
        .map(|letter| (letter.stage.clone().unwrap(), letter.reason.unwrap()))
        .collect();
    assert_eq!(letters.len(), good_images, "{letters:#?}");
    assert_eq!(found, expected);
    let results = deployment.await_results(good_images);
    assert!(
        results.keys().all(|key| key.starts_with("good-")),
        "{results:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_and_classified_after_its_cause_is_fixed() {
    let deployment = Deployment::start("replay").await;
    let _services = deployment.services(|_| Vec::new());
    let late = notification(BUCKET, "late.jpg", 0);
    deployment.publish(Topic::Ingest, late).await;
    deployment.await_dead_letters(1);
    let listed = deployment.tool(&["dead-letters", "list", "--json"]);
    let letter: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(letter["reason"], "not-found");
    assert_eq!(letter["source_topic"], "images");
    let place = format!("{}/{}", letter["partition"], letter["offset"]);
    let shown = deployment.tool(&["dead-letters", "show", &place]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("sightline-reason: not-found"), "{shown}");
    assert!(shown.contains("late.jpg"), "{shown}");
    deployment
        .put("other.jpg", file("samples/stop__0023.jpg"))
        .await;
    let copied = deployment
        .store
        .get(BUCKET, "other.jpg", None, 1 << 20)
        .await
        .unwrap();
    deployment.await_results(1);
    deployment.put("late.jpg", copied.bytes).await;
    deployment.await_results(2);
    let replayed = deployment.tool(&["dead-letters", "replay", &place]);
    assert!(replayed.status.success(), "{replayed:?}");
    let results = deployment.await_committed(Topic::Results, 3);
    let late = results
        .iter()
        .filter(|r| r.key.as_deref() == Some(&b"images/late.jpg"[..]));
    assert_eq!(
        late.count(),
        2,
        "its own notification's result and the replayed one's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_create_topics_and_show_lag() {
    let deployment = Deployment::start("tools").await;
    for key in ["a.jpg", "b.jpg"] {
        deployment.put(key, file("samples/stop__0023.jpg")).await;
    }
    let lag = |deployment: &Deployment| -> i64 {
        let output = deployment.tool(&["lag", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let lags = text.lines().map(line).filter(|lag| {
            lag["group"]
                .as_str()
                .is_some_and(|group| group.ends_with("ingest"))
        });
        lags.map(|lag| lag["lag"].as_i64().unwrap()).sum()
    };
    assert_eq!(lag(&deployment), 2);
    let _services = deployment.services(|_| Vec::new());
    deployment.await_results(2);
    assert_eq!(lag(&deployment), 0);
    let again = deployment.tool(&["topics", "create"]);
    let text = String::from_utf8(again.stdout).unwrap();
    assert_eq!(text.matches("exists").count(), Topic::ALL.len(), "{text}");
}
