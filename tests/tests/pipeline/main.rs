//! The four services as processes, on the embedded broker or on the Kafka that `SIGHTLINE_TEST_BOOTSTRAP` names. Each image
//! has exactly one outcome, also if services are killed or stopped or receive bad input.
#![allow(clippy::unwrap_used)]

mod crash;
mod deployment;
mod flow;
mod hostile;
mod poison;
mod rebalance;
mod traces;
