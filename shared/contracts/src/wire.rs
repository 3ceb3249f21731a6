//! Safetensors with typed metadata: what `tensors` and `predictions` are written in.

use safetensors::{Dtype, SafeTensors, View};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, collections::HashMap};

/// What is wrong with a message. Reading it again gives the same error: the caller rejects the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not safetensors, or a tensor is missing.
    #[error("not a safetensors message")]
    Format(#[source] safetensors::SafeTensorError),
    /// The metadata field of this name is missing.
    #[error("metadata field {0:?} is missing")]
    NoMetadata(&'static str),
    /// The metadata field of this name is not the JSON that is expected.
    #[error("metadata field {0:?} can't be read")]
    Metadata(&'static str, #[source] serde_json::Error),
    /// A tensor has another dtype or shape than expected.
    #[error("tensor {name:?} is {found}, expected {expected}")]
    Tensor {
        /// The tensor's name.
        name: &'static str,
        /// Its dtype and shape.
        found: String,
        /// What they should be.
        expected: &'static str,
    },
    /// The message is not the JSON that is expected.
    #[error("message can't be read as JSON")]
    Json(#[source] serde_json::Error),
}

/// Bytes with a dtype and a shape, borrowed for writing.
pub(crate) struct Piece<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Cow<'a, [u8]>,
}

impl View for Piece<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

pub(crate) fn write(pieces: Vec<(&str, Piece<'_>)>, metadata: Vec<(&str, String)>) -> Vec<u8> {
    let metadata: HashMap<String, String> = metadata
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text))
        .collect();
    safetensors::serialize(pieces, Some(metadata)).expect("pieces are as long as their shapes say")
}

/// Metadata values are JSON texts; all of ours serialise.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("contract types have string keys and finite numbers")
}

pub(crate) struct Message<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> Message<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(Error::Format)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(bytes).map_err(Error::Format)?;
        Ok(Self { tensors, metadata })
    }

    pub fn metadata<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, Error> {
        let text = self.metadata.get(name).ok_or(Error::NoMetadata(name))?;
        serde_json::from_str(text).map_err(|source| Error::Metadata(name, source))
    }

    /// The tensor's dtype, shape and little-endian bytes.
    pub fn tensor(&self, name: &'static str) -> Result<(Dtype, Vec<usize>, &'a [u8]), Error> {
        let view = self.tensors.tensor(name).map_err(Error::Format)?;
        Ok((view.dtype(), view.shape().to_vec(), view.data()))
    }

    /// A tensor of one dimension.
    pub fn vector(
        &self,
        name: &'static str,
        dtype: Dtype,
        expected: &'static str,
    ) -> Result<&'a [u8], Error> {
        let (found, shape, bytes) = self.tensor(name)?;
        if found != dtype || shape.len() != 1 {
            return Err(Error::Tensor {
                name,
                found: format!("{found:?} {shape:?}"),
                expected,
            });
        }
        Ok(bytes)
    }
}
