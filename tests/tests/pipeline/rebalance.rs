//! Rebalances: instances start, stop, are killed, or are frozen until others take over their partitions.

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
    // This one is not started again: the third gets its partitions when its session has timed out.
    services[2].process.kill();
    deployment.await_committed(Topic::Results, images);
    deployment.assert_each_once(images);
    third.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_instance_commits_no_record_that_another_took_over() {
    let deployment = Deployment::start("zombie").await;
    let flags = ["--max-in-flight-records", "8"];
    let services = deployment.services(|_| flags.to_vec());
    let scenes = scenes();
    for (name, bytes) in &scenes {
        deployment.put(name, bytes.clone()).await;
    }
    deployment.await_committed(Topic::Results, scenes.len() / 8);
    services[2].process.signal("STOP").unwrap();
    let successor = deployment.service("infer", "1", &flags);
    deployment.await_committed(Topic::Results, scenes.len());
    services[2].process.signal("CONT").unwrap();
    // The frozen instance resumes with a batch in flight. More images show that both work as members afterwards.
    for (name, bytes) in &scenes {
        deployment
            .put(&format!("again/{name}"), bytes.clone())
            .await;
    }
    deployment.await_committed(Topic::Results, 2 * scenes.len());
    deployment.assert_each_once(2 * scenes.len());
    successor.stop();
    services.into_iter().for_each(|service| service.stop());
}
