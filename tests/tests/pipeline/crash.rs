//! `kill -9` of each service in turn while images are processed: each image has exactly one result.

use crate::deployment::{Deployment, SERVICES, scenes};
use sightline_contracts::Topic;

#[tokio::test(flavor = "multi_thread")]
async fn killing_each_service_loses_and_duplicates_no_image() {
    const ROUNDS: usize = 2;
    let deployment = Deployment::start("crash").await;
    // Small limits, so that images still wait before the service that is killed.
    let flags = |_: &str| vec!["--max-in-flight-records", "8"];
    let mut services = deployment.services(flags);
    let scenes = scenes();
    let images = ROUNDS * scenes.len();
    for round in 0..ROUNDS {
        for (name, bytes) in &scenes {
            deployment
                .put(&format!("{round}/{name}"), bytes.clone())
                .await;
        }
    }
    let kills = ROUNDS * SERVICES.len();
    for kill in 0..kills {
        deployment.await_committed(Topic::Results, kill * images / (kills + 2));
        let victim = kill % SERVICES.len();
        services[victim].process.kill();
        services[victim] = deployment.service(SERVICES[victim], "0", &flags(SERVICES[victim]));
    }
    deployment.await_committed(Topic::Results, images);
    deployment.assert_each_once(images);
    services.into_iter().for_each(|service| service.stop());
}
