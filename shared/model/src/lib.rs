//! ResNet-18 to ResNet-152 on Candle: weights in, labels out.
//!
//! [`load`] infers the architecture from the shapes of the weights, folds batch norm into the convolutions and returns a
//! [`Model`], which computes on the calling thread. [`Engine`] runs a model on a thread of its own and gathers the images
//! that arrive during a forward pass into the next batch.
#![warn(missing_docs)]
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
