//! Convolutional networks on the CPU, as one Candle custom operation.
//!
//! Candle's own CPU convolution unrolls its input and allocates a tensor a layer. Here a network is
//! a [`Program`]: convolutions whose weights are packed once, with bias, residual add and ReLU in
//! their epilogue, over channels-last activations in an arena that every call reuses. A program is a
//! [`candle_core::CustomOp1`], so that the model around it stays a Candle program.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sightline_convolution::{Builder, Conv2d, Normalisation, Precision, Shape, Threads};
//! let shape = Shape { out_channels: 8, in_channels: 3, kernel: (3, 3), stride: 1, padding: 1, groups: 1 };
//! let conv = Conv2d::new(&[0.1; 8 * 3 * 9], &[0.0; 8], shape)?;
//! let mut net = Builder::new(3, Normalisation::default(), Precision::F32)?;
//! let x = net.convolution(net.input(), conv, None, true)?;
//! let x = net.global_average(x)?;
//! let x = net.linear(x, &[0.5; 2 * 8], &[0.0; 2])?;
//! let program = net.build(x, Threads::new(2))?;
//! let images = candle_core::Tensor::zeros((4, 3, 16, 16), candle_core::DType::U8, &candle_core::Device::Cpu)?;
//! assert_eq!(program.forward(&images)?.dims(), [4, 2]);
//! # Ok(())
//! # }
//! ```
//!
//! Kernels exist for AVX-512, for AVX2 with FMA, and in plain Rust. [`Isa::detect`] finds the fastest one that the
//! processor runs; a caller can also name one. [`Precision::Bf16`] and [`Precision::Int8`] have kernels for AVX-512
//! and for the matrix registers of AMX only. Int8 is quantized: a [`Grid`] holds the scale and zero point of a tensor,
//! and [`Program::ranges`] measures the calibration ranges that grids are made from.
//!
//! This crate uses `unsafe` for vector kernels and for activations that threads write in disjoint parts. Each block
//! states what it relies on.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aligned;
mod builder;
mod convolution;
mod cut;
mod element;
mod error;
mod extent;
mod grid;
mod input;
mod kernels;
mod layout;
mod methods;
mod peak;
mod plan;
mod pooling;
mod precision;
mod program;
mod shape;
mod step;
mod threads;

pub use builder::Builder;
pub use convolution::Conv2d;
pub use error::Error;
pub use grid::{Grid, Grids};
pub use input::Normalisation;
pub use kernels::Isa;
pub use peak::peak;
pub use pooling::Window;
pub use precision::Precision;
pub use program::{Program, Ranges, Timing};
pub use shape::Shape;
pub use step::Node;
pub use threads::Threads;
