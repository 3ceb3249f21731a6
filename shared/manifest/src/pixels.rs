//! A model's input.

use bytes::Bytes;

/// One image as a model takes it, channels first: [3, height, width].
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// 0…255, not normalised: scale, mean and standard deviation belong to the weights and are applied with them.
    U8(Bytes),
    /// Already normalised.
    F32(Vec<f32>),
}

impl Pixels {
    /// How many values there are: 3 × height × width.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(bytes) => bytes.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
