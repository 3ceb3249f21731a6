//! The methods that compute a convolution: directly, on vector or matrix registers, or by Winograd's algorithm.

#[cfg(target_arch = "x86_64")]
mod amx;
mod direct;
mod packing;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod segments;
mod winograd;

pub(crate) use direct::Direct;
pub(crate) use winograd::Winograd;
