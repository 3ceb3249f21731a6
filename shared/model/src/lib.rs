//! ResNet-18 to ResNet-152 on Candle: weights in, labels out.
//!
//! [`load`] finds the architecture in the shapes of the weights, folds batch norm into the convolutions and gives a
//! [`Model`] that computes on the thread that calls. [`Engine`] gives it a thread of its own and gathers what comes
//! while it computes into the next batch.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod architecture;
mod calibration;
mod device;
pub mod engine;
mod error;
mod fused;
mod layers;
mod model;
mod network;
pub mod random;
mod resnet;
mod stock;
mod weights;

pub use architecture::{Architecture, Block};
pub use calibration::{Calibration, Calibrator};
pub use device::Device;
pub use engine::{Batch, BatchSettings, Engine, Prediction};
pub use error::Error;
pub use model::{Input, Model, Options, WrongShape, load};
pub use network::Kernels;
pub use sightline_convolution::Precision;
