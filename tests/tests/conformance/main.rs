//! Conformance to Kafka: one test for each property of a broker that this project relies on.
//!
//! Runs on the embedded broker, started in this process, or on the Kafka that `SIGHTLINE_TEST_BOOTSTRAP` names. Apache
//! Kafka is the reference: an assertion here is right only if Apache Kafka passes it (`tests/kafka run -- cargo test
//! -p sightline-e2e --test conformance`). Requests are sent raw, at the versions librdkafka speaks, wherever a client
//! would not commit the fault or would hide the answer.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod broker;
mod fencing;
mod groups;
mod idempotence;
mod logs;
mod members;
mod offsets;
mod raw;
mod reaper;
mod records;
mod transactions;
