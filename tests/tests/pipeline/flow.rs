//! Images through the pipeline without failures.

use crate::deployment::{BUCKET, Deployment, SERVICES, file, scenes};
use sightline_contracts::{Topic, headers};
use sightline_storage::Objects;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn each_image_has_one_result_with_label_thumbnail_and_times() {
    let deployment = Deployment::start("flow").await;
    let services = deployment.services(|_| Vec::new());
    let keys = [
        "plain.jpg",
        "a b/ü+1%2F.jpg",
        "a+b",
        "日本/é.png",
        "q?a=b&c#d",
    ];
    for key in keys {
        deployment.put(key, file("samples/stop__0023.jpg")).await;
    }
    let results = deployment.await_results(keys.len());
    deployment.assert_each_once(keys.len());
    for key in keys {
        let event = &results[key];
        assert_eq!(event.labels[0].label, "stop", "{key}");
        assert_eq!(event.model.name, "road-scenes-resnet101-w8");
        assert_eq!(event.model.weights_sha256.len(), 64);
        let times = &event.image.times;
        let stages = [
            Some(times.notified_ms),
            times.ingested_ms,
            times.preprocessed_ms,
            times.inferred_ms,
            times.postprocessed_ms,
        ];
        assert!(
            stages.iter().all(Option::is_some) && stages.is_sorted(),
            "{times:?}"
        );
        let stored = event.thumbnail.as_ref().unwrap();
        let id = event.image.id;
        assert_eq!(stored.key, format!("thumbnails/{key}_{id}_thumb.png"));
        let thumbnail = deployment.store.get(BUCKET, &stored.key, None, 1 << 20);
        assert!(thumbnail.await.unwrap().bytes.starts_with(b"\x89PNG"));
    }
    one_trace_an_image(&deployment);
    for (service, name) in services.iter().zip(SERVICES) {
        let metrics = service.metrics();
        let done = format!("sightline_records_total{{stage=\"{name}\",outcome=\"done\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&done));
        assert!(line.is_some_and(|count| count != "0"), "{name}: {metrics}");
    }
    services.into_iter().for_each(|service| service.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_command_asks_a_running_service() {
    let deployment = Deployment::start("health").await;
    let ingest = deployment.service("ingest", "0", &[]);
    ingest.await_ready();
    let ask = ingest.health_check();
    let answer = |mut ask: std::process::Command| {
        let output = ask.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    assert_eq!(answer(ask), (Some(0), String::new()));
    let ask = ingest.health_check();
    ingest.stop();
    let (code, text) = answer(ask);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("not ready: "), "{text}");
}

/// Checks that the records of every later topic have the trace id that ingest gave the image.
fn one_trace_an_image(deployment: &Deployment) {
    let traces = |topic| -> BTreeSet<_> {
        let records = deployment.committed(topic);
        let trace = |r: &sightline_stream::Record| {
            let parent = r.headers.text(headers::TRACEPARENT).unwrap();
            (r.key.clone().unwrap(), parent[3..35].to_owned())
        };
        records.iter().map(trace).collect()
    };
    let first = traces(Topic::Images);
    for topic in [Topic::Tensors, Topic::Predictions, Topic::Results] {
        assert_eq!(traces(topic), first, "{}", topic.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_label_filter_limits_thumbnails_but_not_results() {
    let deployment = Deployment::start("filter").await;
    let _services = deployment.services(|service| match service {
        "postprocess" => vec!["--label-filter", "traffic light"],
        _ => Vec::new(),
    });
    let scenes = scenes();
    for (name, bytes) in scenes.iter().step_by(4) {
        deployment.put(name, bytes.clone()).await;
    }
    let results = deployment.await_results(scenes.len().div_ceil(4));
    let (with, without): (Vec<_>, Vec<_>) = results
        .values()
        .partition(|event| event.thumbnail.is_some());
    assert!(!with.is_empty() && !without.is_empty());
    let light = |label: &str| label.contains("traffic light");
    assert!(with.iter().all(|event| light(&event.labels[0].label)));
    assert!(!without.iter().any(|event| light(&event.labels[0].label)));
    let stored = deployment.store.list(BUCKET, "thumbnails/");
    let stored = futures::TryStreamExt::try_collect::<Vec<_>>(stored)
        .await
        .unwrap();
    assert_eq!(stored.len(), with.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn classify_reads_the_objects_below_an_s3_prefix() {
    let deployment = Deployment::start("prefix").await;
    for key in ["in/a b.jpg", "in/deep/er.jpg", "out/c.jpg"] {
        deployment.put(key, file("samples/stop__0023.jpg")).await;
    }
    deployment
        .put("in/bad.jpg", file("fixtures/broken/text.jpg"))
        .await;
    let output = deployment.classify(&["s3://images/in/"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let rows = table
        .lines()
        .filter(|line| line.contains("s3://images/in/"));
    assert_eq!(rows.count(), 3, "{table}");
    assert_eq!(table.matches(" stop ").count(), 2, "{table}");
    assert!(table.contains("unsupported-format"), "{table}");
}
