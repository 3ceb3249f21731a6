//! The topics, and how each is to be created.

/// A topic of the pipeline. Names are written here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// S3 notifications, JSON as published.
    Ingest,
    /// [`ImageRef`](crate::ImageRef) as JSON.
    Images,
    /// [`TensorMessage`](crate::TensorMessage) as safetensors.
    Tensors,
    /// [`PredictionMessage`](crate::PredictionMessage) as safetensors.
    Predictions,
    /// [`ResultEvent`](crate::ResultEvent) as JSON.
    Results,
    /// The original bytes of records that could not be processed, with [`headers`](crate::headers) that say why.
    DeadLetters,
}

/// How `sightline topics create` makes a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Hours after which a record is deleted.
    pub retention_hours: u32,
    /// The largest record batch that the topic accepts, in bytes.
    pub max_message_bytes: u32,
}

impl Topic {
    /// All topics, in the order in which an image passes them; dead letters come last.
    pub const ALL: [Self; 6] = [
        Self::Ingest,
        Self::Images,
        Self::Tensors,
        Self::Predictions,
        Self::Results,
        Self::DeadLetters,
    ];

    /// The topic's name, without the prefix that the settings may put before it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Images => "images",
            Self::Tensors => "tensors",
            Self::Predictions => "predictions",
            Self::Results => "results",
            Self::DeadLetters => "dead-letters",
        }
    }

    /// How the topic is to be created. Tensors are large and needed for a short time, results are small and kept for a
    /// month. 8 MiB holds an f32 tensor of 640×640 pixels; a dead letter of one has headers in addition.
    pub fn layout(self) -> Layout {
        let (retention_hours, max_message_bytes) = match self {
            Self::Ingest | Self::Images => (7 * 24, 1 << 20),
            Self::Tensors | Self::Predictions => (24, 8 << 20),
            Self::Results => (30 * 24, 1 << 20),
            Self::DeadLetters => (30 * 24, 9 << 20),
        };
        Layout {
            retention_hours,
            max_message_bytes,
        }
    }
}
