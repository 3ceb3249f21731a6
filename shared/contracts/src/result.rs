//! What comes out: the message of the `results` topic.

use crate::{Error, ImageRef, ModelInfo};
use serde::{Deserialize, Serialize};

/// One class and how probable it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Index into the model's labels.
    pub class: u32,
    pub label: String,
    /// Softmax over all classes, 0 to 1.
    pub probability: f32,
}

/// Where the thumbnail lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    pub bucket: String,
    pub key: String,
}

/// One classified image; exactly one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultEvent {
    pub image: ImageRef,
    pub model: ModelInfo,
    /// The top k, the most probable first; never empty.
    pub labels: Vec<Label>,
    /// Absent where the label filter asked for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Thumbnail>,
}

impl ResultEvent {
    pub fn to_json(&self) -> Vec<u8> {
        crate::wire::json(self).into_bytes()
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(Error::Json)
    }
}
