//! Why bytes are no picture for us. Each is final: the same bytes fail the same way.

use crate::Format;
use std::fmt;

type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no bytes")]
    Empty,
    /// The first bytes are those of no format we read.
    #[error("neither JPEG, PNG, BMP nor WebP: it begins with {start}")]
    Unrecognised {
        /// The first bytes, in hexadecimal.
        start: String,
    },
    /// The file ends before the picture does.
    #[error("a {format} that ends early")]
    Truncated { format: Format },
    /// The file breaks its format's rules.
    #[error("a damaged {format}")]
    Corrupt {
        format: Format,
        #[source]
        source: Cause,
    },
    /// The header declares more than the limits allow; nothing was decoded.
    #[error("{width}×{height} is more than the limit of {limit}")]
    TooManyPixels {
        width: u32,
        height: u32,
        limit: Limit,
    },
    /// A rarity of the format that the decoder does not know.
    #[error("a {format} of a kind that is not supported")]
    Unsupported {
        format: Format,
        #[source]
        source: Cause,
    },
}

/// The limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Pixels(u64),
    Side(u32),
    /// The longer side over the shorter.
    Ratio(u32),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels(n) => write!(f, "{n} pixels"),
            Self::Side(n) => write!(f, "{n} pixels a side"),
            Self::Ratio(n) => write!(f, "{n} to 1 between the sides"),
        }
    }
}

impl Error {
    pub(crate) fn unrecognised(bytes: &[u8]) -> Self {
        let start: Vec<_> = bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self::Unrecognised {
            start: start.join(" "),
        }
    }

    pub(crate) fn corrupt(format: Format, why: impl Into<Cause>) -> Self {
        Self::Corrupt {
            format,
            source: why.into(),
        }
    }

    /// Sorts what the image crate says; a file that ends early is told from one that is wrong.
    pub(crate) fn from_image(format: Format, error: image::ImageError) -> Self {
        match error {
            image::ImageError::Unsupported(_) => Self::Unsupported {
                format,
                source: error.into(),
            },
            error if ended_early(&error) => Self::Truncated { format },
            error => Self::corrupt(format, error),
        }
    }
}

fn ended_early(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.into_iter().any(|error| {
        let io = match error.downcast_ref::<image::ImageError>() {
            Some(image::ImageError::IoError(io)) => Some(io),
            _ => error.downcast_ref::<std::io::Error>(),
        };
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof)
    })
}
