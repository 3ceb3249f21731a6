//! The message from infer to postprocess.

use crate::{Error, ImageRef, Label, wire};
use bytes::Bytes;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

/// The model that a prediction was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The manifest's name.
    pub name: String,
    /// `resnet18` … `resnet152`.
    pub architecture: String,
    /// SHA-256 of the weights file, hexadecimal.
    pub weights_sha256: String,
}

/// The message of the `predictions` topic: safetensors with `classes: u32 [k]`, `probabilities: f32 [k]` (falling)
/// and `thumbnail: u8 [n]`; metadata `image`, `model` and `labels` (k texts) as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionMessage {
    /// The image that was classified.
    pub image: ImageRef,
    /// The model that classified it.
    pub model: ModelInfo,
    /// The top k, the most probable first; never empty.
    pub labels: Vec<Label>,
    /// The encoded PNG, as preprocess made it.
    pub thumbnail: Bytes,
}

impl PredictionMessage {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let k = self.labels.len();
        let classes: Vec<u8> = self
            .labels
            .iter()
            .flat_map(|label| label.class.to_le_bytes())
            .collect();
        let probabilities: Vec<u8> = self
            .labels
            .iter()
            .flat_map(|label| label.probability.to_le_bytes())
            .collect();
        let texts: Vec<&str> = self
            .labels
            .iter()
            .map(|label| label.label.as_str())
            .collect();
        let piece = |dtype, n, bytes| wire::Piece {
            dtype,
            shape: vec![n],
            bytes,
        };
        wire::write(
            vec![
                ("classes", piece(Dtype::U32, k, classes.into())),
                ("probabilities", piece(Dtype::F32, k, probabilities.into())),
                (
                    "thumbnail",
                    piece(
                        Dtype::U8,
                        self.thumbnail.len(),
                        self.thumbnail.as_ref().into(),
                    ),
                ),
            ],
            vec![
                ("image", wire::json(&self.image)),
                ("model", wire::json(&self.model)),
                ("labels", wire::json(&texts)),
            ],
        )
    }

    /// Reads a message without copying the thumbnail.
    ///
    /// # Errors
    /// [`Error::Format`] where the bytes are not safetensors or a tensor is missing; [`Error::Tensor`] where a tensor
    /// has another dtype or rank, or classes, probabilities and labels differ in number or are none;
    /// [`Error::NoMetadata`] and [`Error::Metadata`] where a metadata field is missing or can't be read.
    pub fn decode(bytes: &Bytes) -> Result<Self, Error> {
        let message = wire::Message::read(bytes)?;
        let classes = message.vector("classes", Dtype::U32, "u32 [k]")?;
        let probabilities = floats(message.vector("probabilities", Dtype::F32, "f32 [k]")?);
        let texts: Vec<String> = message.metadata("labels")?;
        let k = texts.len();
        if k == 0 || classes.len() != 4 * k || probabilities.len() != k {
            let found = format!(
                "{} classes, {} probabilities, {k} labels",
                classes.len() / 4,
                probabilities.len()
            );
            return Err(Error::Tensor {
                name: "classes",
                found,
                expected: "as many of each, at least one",
            });
        }
        let classes = classes
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        let labels = classes
            .zip(probabilities)
            .zip(texts)
            .map(|((class, probability), label)| Label {
                class,
                label,
                probability,
            })
            .collect();
        Ok(Self {
            image: message.metadata("image")?,
            model: message.metadata("model")?,
            labels,
            thumbnail: bytes.slice_ref(message.vector("thumbnail", Dtype::U8, "u8 [n]")?),
        })
    }
}

/// Little-endian f32s; safetensors has checked that the length is a multiple of four.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}
