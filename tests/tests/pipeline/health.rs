//! What a service answers to probes.

use crate::deployment::binary;
use sightline_testkit::{Process, eventually, free_port, http_status};

#[test]
fn a_service_without_kafka_is_alive_and_says_why_it_is_not_ready() {
    let http = format!("127.0.0.1:{}", free_port().unwrap());
    let nobody = format!("127.0.0.1:{}", free_port().unwrap());
    let mut command = binary("ingest");
    command.args(["--kafka-bootstrap", &nobody, "--http-listen", &http]);
    command.args(["--buckets", "images"]);
    let mut service = Process::start(&mut command).unwrap();
    let reasons = r#""failing":{"ingest":["transactional producer not initialised"]}"#;
    let said = eventually("the probe names the reason", || {
        let mut probe = binary("ingest");
        let asked = probe.args(["health", "--http-listen", &http]).output();
        let said = String::from_utf8(asked.unwrap().stderr).unwrap();
        said.contains(reasons).then_some(said)
    });
    assert!(said.starts_with("not ready: {"), "{said}");
    assert_eq!(http_status(&http, "/livez").unwrap(), 200);
    service.kill();
}
