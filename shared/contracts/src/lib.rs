//! What the services say to each other: topics, headers, image identity and the messages of every hop.
//!
//! Nothing here does I/O or knows Kafka. JSON messages are described by the files in `schemas/`, which a test
//! holds against these types; tensors and predictions travel as [safetensors] so that any language reads them.
//!
//! [safetensors]: https://huggingface.co/docs/safetensors
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod headers;
mod identity;
mod image;
mod prediction;
mod reason;
mod result;
mod tensor;
mod times;
pub mod topics;
mod wire;

pub use identity::ImageId;
pub use image::ImageRef;
pub use prediction::{ModelInfo, PredictionMessage};
pub use reason::Reason;
pub use result::{Label, ResultEvent, Thumbnail};
pub use tensor::TensorMessage;
pub use times::{Times, now_ms};
pub use topics::Topic;
pub use wire::Error;
