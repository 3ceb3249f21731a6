//! From the bytes of a file to pixels, a tensor and a thumbnail. Pure: no I/O, no threads, no settings.
//!
//! Guarantees:
//! - The first bytes of a file decide its format, never its name ([`Format::detect`]).
//! - A picture above the [`Limits`] is refused by its header, before memory for its pixels is allocated. The size
//!   checked is the one that the decoder itself has read.
//! - [`Encoded::memory`] says before decoding how much memory it takes. The exception is a lossless WebP that is made
//!   to exceed it.
//! - Metadata is skipped, except the EXIF orientation. A picture is not refused because its metadata can't be read.
//! - For any bytes, [`decode`] returns a complete picture or an [`Error`]. It never returns a part of a picture, and it
//!   never panics.
//! - Pixels equal those of Pillow's `ImageOps.exif_transpose(image).convert("RGB")`. The exception is 16-bit grey, of
//!   which the high byte is used (Pillow clips at 255, which makes such pictures white).
//! - A tensor equals that of torchvision's evaluation transform with Pillow's antialiased resampling, within 1 of 255
//!   for 99.9 % of the values; for 99 % with progressive JPEGs whose chroma is subsampled.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bmp;
mod encoded;
mod error;
mod format;
mod geometry;
mod header;
mod jpeg;
mod limits;
mod picture;
mod png;
mod resample;
mod samples;
mod tensor;
mod thumbnail;
mod turn;
mod webp;

pub use encoded::{Encoded, decode, open};
pub use error::{Error, Limit};
pub use format::Format;
pub use limits::Limits;
pub use picture::Picture;
pub use tensor::{Tensor, tensor, tensor_f32};
pub use thumbnail::{Fit, ThumbnailSpec, thumbnail};
