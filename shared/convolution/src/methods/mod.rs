//! The methods by which a convolution is computed.

#[cfg(target_arch = "x86_64")]
mod amx;
mod direct;
mod packing;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod segments;
mod winograd;

pub(crate) use direct::Direct;
pub(crate) use winograd::Winograd;
