//! Why a record became a dead letter.

use std::{fmt, str::FromStr};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A closed set, so that it can label metrics. The text is the value of the `sightline-reason` header.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The reason's name in headers and metric labels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The message can't be read: not JSON, not safetensors, fields missing or of the wrong type, shape or length.
    Malformed = "malformed",
    /// The bucket is not on the allow-list.
    BucketNotAllowed = "bucket-not-allowed",
    /// The key is empty, too long or holds control characters.
    InvalidKey = "invalid-key",
    /// More bytes, or more records in a notification, than the settings or the topics allow.
    TooLarge = "too-large",
    /// The object is gone.
    NotFound = "not-found",
    /// S3 refuses access to the object.
    AccessDenied = "access-denied",
    /// The object is empty.
    Empty = "empty",
    /// Not a JPEG, PNG, BMP or WebP.
    UnsupportedFormat = "unsupported-format",
    /// The picture can't be decoded: truncated or damaged.
    Corrupt = "corrupt",
    /// More pixels than the settings allow.
    TooManyPixels = "too-many-pixels",
    /// The process that decoded the picture died of it.
    DecoderCrashed = "decoder-crashed",
    /// Decoding the picture would take, or took, more memory or time than the settings allow.
    DecodeLimit = "decode-limit",
    /// The tensor does not fit the model.
    WrongShape = "wrong-shape",
    /// The tensor was not made as the model's manifest says; replayed, its image is preprocessed again.
    WrongPreprocessing = "wrong-preprocessing",
    /// The stage panicked or did not finish in time: an error of the service, not of the record.
    Internal = "internal",
    /// Three processes died while they worked on this record and on nothing else.
    Crashed = "crashed",
    /// Retried until the budget was spent; the error header has the last failure.
    Exhausted = "exhausted",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|reason| reason.as_str() == text)
            .copied()
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|reason| reason.as_str()).collect();
                format!("unknown reason {text:?}; one of {}", known.join(", "))
            })
    }
}
