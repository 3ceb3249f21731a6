//! The message from preprocess to infer.

use crate::{Error, ImageRef, wire};
use bytes::Bytes;
use safetensors::Dtype;
use sightline_manifest::{Pixels, Preprocessing};

/// The message of the `tensors` topic: safetensors with `image: u8 or f32 [3, h, w]` and `thumbnail: u8 [n]` (an
/// encoded PNG); metadata `image` (the [`ImageRef`] as JSON) and `preprocessing` (JSON).
#[derive(Debug, Clone, PartialEq)]
pub struct TensorMessage {
    /// The image that the tensor was made of.
    pub image: ImageRef,
    /// [3, height, width].
    pub shape: [usize; 3],
    /// The pixels: 3 × height × width values.
    pub pixels: Pixels,
    /// The encoded PNG, which postprocess stores.
    pub thumbnail: Bytes,
    /// How the pixels were made: the `preprocessing` part of the model's manifest.
    pub preprocessing: Preprocessing,
}

const EXPECTED: &str = "u8 or f32 [3, height, width]";

impl TensorMessage {
    /// The message's bytes. `pixels` must have as many values as `shape` says.
    pub fn encode(&self) -> Vec<u8> {
        let (dtype, bytes) = match &self.pixels {
            Pixels::U8(bytes) => (Dtype::U8, bytes.as_ref().into()),
            Pixels::F32(values) => (
                Dtype::F32,
                values
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect::<Vec<_>>()
                    .into(),
            ),
        };
        let image = wire::Piece {
            dtype,
            shape: self.shape.to_vec(),
            bytes,
        };
        let thumbnail = wire::Piece {
            dtype: Dtype::U8,
            shape: vec![self.thumbnail.len()],
            bytes: self.thumbnail.as_ref().into(),
        };
        wire::write(
            vec![("image", image), ("thumbnail", thumbnail)],
            vec![
                ("image", wire::json(&self.image)),
                ("preprocessing", wire::json(&self.preprocessing)),
            ],
        )
    }

    /// Reads a message without copying u8 pixels or the thumbnail. Dtype, rank and channels are checked here, height
    /// and width by the model.
    ///
    /// # Errors
    /// [`Error::Format`] where the bytes are not safetensors or a tensor is missing; [`Error::Tensor`] where a tensor
    /// has another dtype, rank or number of channels; [`Error::NoMetadata`] and [`Error::Metadata`] where a metadata
    /// field is missing or can't be read.
    pub fn decode(bytes: &Bytes) -> Result<Self, Error> {
        let message = wire::Message::read(bytes)?;
        let (dtype, shape, data) = message.tensor("image")?;
        let wrong = || Error::Tensor {
            name: "image",
            found: format!("{dtype:?} {shape:?}"),
            expected: EXPECTED,
        };
        let shape: [usize; 3] = shape.as_slice().try_into().map_err(|_| wrong())?;
        if shape[0] != 3 {
            return Err(wrong());
        }
        let pixels = match dtype {
            Dtype::U8 => Pixels::U8(bytes.slice_ref(data)),
            Dtype::F32 => Pixels::F32(crate::prediction::floats(data)),
            _ => return Err(wrong()),
        };
        Ok(Self {
            image: message.metadata("image")?,
            shape,
            pixels,
            thumbnail: bytes.slice_ref(message.vector("thumbnail", Dtype::U8, "u8 [n]")?),
            preprocessing: message.metadata("preprocessing")?,
        })
    }
}
