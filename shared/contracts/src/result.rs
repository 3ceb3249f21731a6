//! The message of the `results` topic.

use crate::{Error, ImageRef, ModelInfo};
use serde::{Deserialize, Serialize};

/// One class and how probable it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Index into the model's labels.
    pub class: u32,
    /// The class's name in the model's label file.
    pub label: String,
    /// Softmax over all classes, 0 to 1.
    pub probability: f32,
}

/// Where the thumbnail is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// The bucket that the thumbnail was put into.
    pub bucket: String,
    /// The thumbnail's key, which ends in [`Thumbnail::SUFFIX`].
    pub key: String,
}

impl Thumbnail {
    /// How the key of every thumbnail ends.
    pub const SUFFIX: &str = "_thumb.png";
    /// How the key of every thumbnail begins, unless a setting says otherwise.
    pub const DEFAULT_PREFIX: &str = "thumbnails/";
}

/// One classified image. There is exactly one for each image that is not a dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultEvent {
    /// The image that was classified.
    pub image: ImageRef,
    /// The model that classified it.
    pub model: ModelInfo,
    /// The top k, the most probable first; never empty.
    pub labels: Vec<Label>,
    /// Absent where the label filter asked for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Thumbnail>,
}

impl ResultEvent {
    /// The message's bytes: one JSON object, as `schemas/result.schema.json` describes it.
    pub fn to_json(&self) -> Vec<u8> {
        crate::wire::json(self).into_bytes()
    }

    /// Reads a message; fields it does not know are ignored.
    ///
    /// # Errors
    /// [`Error::Json`] where the bytes are not JSON, or a field is missing or has the wrong type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(Error::Json)
    }
}
