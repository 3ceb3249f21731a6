//! The model crate from outside.
#![allow(clippy::unwrap_used)]

mod architectures;
mod hub;
mod parity;
mod sources;
mod support;
mod weights_that_do_not_fit;
