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
    /// The original bytes of what could not be processed, with [`headers`](crate::headers) that say why.
    DeadLetters,
    /// What ingest has already passed on, compacted by `bucket/key`.
    IngestSeen,
}

/// How `sightline topics create` makes a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Keep the newest record of each key instead of deleting by age.
    pub compacted: bool,
    /// Hours a record is kept; none means as long as the topic.
    pub retention_hours: Option<u32>,
    pub max_message_bytes: u32,
}

impl Topic {
    pub const ALL: [Self; 7] = [
        Self::Ingest,
        Self::Images,
        Self::Tensors,
        Self::Predictions,
        Self::Results,
        Self::DeadLetters,
        Self::IngestSeen,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Images => "images",
            Self::Tensors => "tensors",
            Self::Predictions => "predictions",
            Self::Results => "results",
            Self::DeadLetters => "dead-letters",
            Self::IngestSeen => "ingest-seen",
        }
    }

    /// Tensors are large and short-lived, results small and worth keeping; 8 MiB holds an f32 tensor of 640×640.
    pub fn layout(self) -> Layout {
        let (compacted, retention_hours, max_message_bytes) = match self {
            Self::Ingest | Self::Images => (false, Some(7 * 24), 1 << 20),
            Self::Tensors | Self::Predictions => (false, Some(24), 8 << 20),
            Self::Results => (false, Some(30 * 24), 1 << 20),
            Self::DeadLetters => (false, Some(30 * 24), 9 << 20),
            Self::IngestSeen => (true, None, 1 << 20),
        };
        Layout {
            compacted,
            retention_hours,
            max_message_bytes,
        }
    }
}
