//! The kernels: register-blocked inner products, for each instruction set.

mod isa;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod matrix;
mod panel;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use isa::Isa;
pub(crate) use lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
pub(crate) use matrix::{Registers, WIDTH as MATRIX_WIDTH, multiply};
#[cfg(target_arch = "x86_64")]
pub(crate) use panel::Finish;
pub(crate) use panel::{Epilogue, Family, Panel, Pixel, SIDE, WIDEST, WORD};
pub(crate) use tile::{families, families_of_sums};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16, Avx512Vnni};
