//! Turns an image's bytes into a tensor and a thumbnail. It does no I/O, so it runs in this process and in a decoder
//! process alike.

use crate::settings::TensorType;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sightline_contracts::Reason;
use sightline_manifest::Preprocessing;
use sightline_stream::{Rejection, with_causes};
use sightline_vision::{
    Error as VisionError, Limits, Picture, Tensor, ThumbnailSpec, open, tensor, tensor_f32,
    thumbnail,
};
use std::time::{Duration, Instant};

/// How images are decoded and resized; the same for every image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recipe {
    pub(crate) limits: Limits,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) tensor_type: TensorType,
    pub(crate) thumbnail: ThumbnailSpec,
}

/// The result for one image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Made {
    /// [3, height, width].
    pub(crate) shape: [usize; 3],
    /// u8 values, or little-endian f32 values, as the recipe says.
    pub(crate) pixels: Bytes,
    /// A PNG.
    pub(crate) thumbnail: Bytes,
    pub(crate) took: Took,
}

/// The time that each step took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) decode: Duration,
    pub(crate) resize: Duration,
    pub(crate) thumbnail: Duration,
}

/// Asks for this many bytes of memory and waits for them; false if the image can't have them.
pub(crate) type Ask<'a> = &'a mut dyn FnMut(u64) -> bool;

impl Recipe {
    /// Decodes and resizes an image. `ask` is called once, after the header is read and before memory is allocated for
    /// pixels.
    pub(crate) fn make(&self, bytes: &[u8], ask: Ask<'_>) -> Result<Made, Rejection> {
        let mut took = Took::default();
        let picture = timed(&mut took.decode, || self.picture(bytes, ask))?;
        let (shape, pixels) = timed(&mut took.resize, || self.tensor(&picture));
        let thumbnail = timed(&mut took.thumbnail, || thumbnail(&picture, &self.thumbnail));
        Ok(Made {
            shape,
            pixels: pixels.into(),
            thumbnail: thumbnail.into(),
            took,
        })
    }

    fn picture(&self, bytes: &[u8], ask: Ask<'_>) -> Result<Picture, Rejection> {
        let encoded = open(bytes, &self.limits).map_err(unreadable)?;
        let (width, height) = (encoded.width(), encoded.height());
        let needed = encoded.memory() + self.resizing_memory(width, height);
        if !ask(needed) {
            let reason = Reason::DecodeLimit;
            let error = format!("{width}×{height} needs {needed} bytes of memory to decode");
            return Err(Rejection { reason, error });
        }
        encoded.decode().map_err(unreadable)
    }

    fn tensor(&self, picture: &Picture) -> ([usize; 3], Vec<u8>) {
        match self.tensor_type {
            TensorType::U8 => {
                let Tensor { shape, data } = tensor(picture, &self.preprocessing);
                (shape, data)
            }
            TensorType::F32 => {
                let Tensor { shape, data } = tensor_f32(picture, &self.preprocessing);
                (shape, data.into_iter().flat_map(f32::to_le_bytes).collect())
            }
        }
    }

    /// The most bytes that resizing takes besides the picture. The resizer works in two passes, and the first one stores
    /// the rows or columns that the second one reads.
    fn resizing_memory(&self, width: u32, height: u32) -> u64 {
        let [to_height, to_width] = self.preprocessing.size.map(|side| side as u64);
        let (width, height) = (u64::from(width.max(height)), u64::from(height.max(width)));
        let narrowed = to_width * height;
        let flattened = width * u64::from(self.thumbnail.height);
        let made =
            to_width * to_height * 2 + u64::from(self.thumbnail.width * self.thumbnail.height) * 3;
        3 * (narrowed + flattened + made) + self.answer_bytes()
    }

    /// The most bytes that an answer can have: tensor, thumbnail and 64 KiB for the rest.
    pub(crate) fn answer_bytes(&self) -> u64 {
        let values: usize = 3 * self.preprocessing.size.iter().product::<usize>();
        let bytes = match self.tensor_type {
            TensorType::U8 => values,
            TensorType::F32 => 4 * values,
        };
        let thumbnail = 4 * u64::from(self.thumbnail.width) * u64::from(self.thumbnail.height);
        bytes as u64 + thumbnail + (64 << 10)
    }
}

fn timed<T>(took: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    *took = start.elapsed();
    result
}

fn unreadable(error: VisionError) -> Rejection {
    let reason = match &error {
        VisionError::Empty => Reason::Empty,
        VisionError::Unrecognised { .. } | VisionError::Unsupported { .. } => {
            Reason::UnsupportedFormat
        }
        VisionError::Truncated { .. } | VisionError::Corrupt { .. } => Reason::Corrupt,
        VisionError::TooManyPixels { .. } => Reason::TooManyPixels,
    };
    Rejection {
        reason,
        error: with_causes(&error),
    }
}
