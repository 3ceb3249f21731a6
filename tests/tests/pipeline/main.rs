//! The four services as processes of their own, on the embedded broker or on the Kafka that `SIGHTLINE_TEST_BOOTSTRAP`
//! names: images in, each out once, whatever is killed, stopped or fed to them.
#![allow(clippy::unwrap_used)]

mod crash;
mod deployment;
mod flow;
mod health;
mod hostile;
mod model;
mod poison;
mod rebalance;
mod traces;
