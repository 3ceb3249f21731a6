//! Partitions that change hands: instances that come, go, die, or stop for so long that others take over.

use crate::deployment::{Deployment, scenes};
use sightline_contracts::Topic;

#[tokio::test(flavor = "multi_thread")]
async fn infer_scales_out_and_in_and_an_instance_that_dies_is_replaced() {
    let deployment = Deployment::start("scale").await;
    let flags = ["--max-in-flight-records", "8"];
    let mut services = deployment.services(|_| flags.to_vec());
    let scenes = scenes();
    let images = 2 * scenes.len();
    let second = deployment.service("infer", "1", &flags);
    for round in 0..2 {
        for (name, bytes) in &scenes {
            deployment
                .put(&format!("{round}/{name}"), bytes.clone())
                .await;
        }
    }
    second.await_ready();
    deployment.await_committed(Topic::Results, images / 6);
    let third = deployment.service("infer", "2", &flags);
    third.await_ready();
    deployment.await_committed(Topic::Results, images / 3);
    second.stop();
    // Nobody starts this one again: its partitions go to the third when its session has ended.
    services[2].process.kill();
    deployment.await_committed(Topic::Results, images);
    deployment.assert_each_once(images);
    third.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_frozen_commits_nothing_of_what_others_took_over() {
    let deployment = Deployment::start("zombie").await;
    let flags = ["--max-in-flight-records", "8"];
    let services = deployment.services(|_| flags.to_vec());
    let scenes = scenes();
    for (name, bytes) in &scenes {
        deployment.put(name, bytes.clone()).await;
    }
    deployment.await_committed(Topic::Results, scenes.len() / 8);
    services[2].process.signal("STOP").unwrap();
    let heir = deployment.service("infer", "1", &flags);
    deployment.await_committed(Topic::Results, scenes.len());
    services[2].process.signal("CONT").unwrap();
    // The zombie wakes with a batch in its hands; more work shows that both go on as good members.
    for (name, bytes) in &scenes {
        deployment
            .put(&format!("again/{name}"), bytes.clone())
            .await;
    }
    deployment.await_committed(Topic::Results, 2 * scenes.len());
    deployment.assert_each_once(2 * scenes.len());
    heir.stop();
    services.into_iter().for_each(|service| service.stop());
}
