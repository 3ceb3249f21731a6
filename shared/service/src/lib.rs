//! What every service is made of around its stage.
//!
//! A service is three things: a struct of [`Settings`], a [`Stage`](sightline_stream::Stage), and a `run` of a few lines
//! that makes the one from the other and hands it to [`run_stage`]. Its `main.rs` is one call of [`main`]. The binary
//! `sightline` and the tests call the same `run` with a [`Context`] of their own.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod program;
pub mod scheduling;
mod settings;
mod shutdown;
mod stage;

pub use program::main;
pub use settings::{Parsed, Refusal, Settings, parse};
pub use shutdown::Signals;
pub use stage::{Context, run_stage};
