//! The operator's commands without Kafka: their errors and exit statuses.

use crate::sightline;
use std::net::TcpListener;

/// Runs `sightline lag`: the exit status and stderr.
fn lag(arguments: &[&str]) -> (Option<i32>, String) {
    let output = sightline().arg("lag").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), errors)
}

#[test]
fn an_unreachable_broker_is_named_with_the_reason() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let nobody = nobody.unwrap().to_string();
    let (status, errors) = lag(&["--kafka-bootstrap", &nobody]);
    assert_eq!(status, Some(1), "{errors}");
    let last = errors.lines().last().unwrap_or_default();
    let said = ["can't reach Kafka", &nobody, "Connection refused"];
    assert!(said.iter().all(|part| last.contains(part)), "{errors}");
}

#[test]
fn wrong_settings_exit_with_2() {
    let (status, errors) = lag(&["--kafka-security-protocol", "sasl_plaintext"]);
    assert_eq!(status, Some(2), "{errors}");
    assert!(errors.contains("--kafka-sasl-mechanism"), "{errors}");
}
