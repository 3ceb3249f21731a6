//! The loop against a broker: the embedded one, or Apache Kafka at `SIGHTLINE_TEST_BOOTSTRAP`.
#![allow(clippy::unwrap_used)]

mod crashes;
mod hostile;
