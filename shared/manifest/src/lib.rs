//! What a model expects of its input, what its classes are called, and where it is found.
//!
//! [`Manifest`] is the file `manifest.json` beside the weights. Preprocess makes tensors as its [`Preprocessing`] says, infer
//! checks the tensors against it: both read the same type from the same place, so that the two can't drift apart.
//! [`Source`] finds a manifest and the weights that belong to it.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod hub;
mod location;
mod manifest;
mod pixels;
mod preprocessing;
mod source;
mod timm;

pub use error::Error;
pub use hub::Hub;
pub use location::{InBucket, Location};
pub use manifest::{Manifest, labels_of_text};
pub use pixels::Pixels;
pub use preprocessing::{Interpolation, Preprocessing, Resize};
pub use source::Source;
