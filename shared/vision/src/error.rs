//! Errors of decoding. All are permanent: the same bytes fail the same way every time.

use crate::Format;
use std::fmt;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why bytes can't be decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no bytes.
    #[error("no bytes")]
    Empty,
    /// The first bytes are of no supported format.
    #[error("neither JPEG, PNG, BMP nor WebP: it begins with {start}")]
    Unrecognised {
        /// The first bytes, in hexadecimal.
        start: String,
    },
    /// The file ends before the picture does.
    #[error("a {format} that ends early")]
    Truncated {
        /// The file's format.
        format: Format,
    },
    /// The file violates its format.
    #[error("a damaged {format}")]
    Corrupt {
        /// The file's format.
        format: Format,
        /// The decoder's error.
        #[source]
        source: Cause,
    },
    /// The header declares more than the limits allow; nothing was decoded.
    #[error("{width}×{height} is more than the limit of {limit}")]
    TooManyPixels {
        /// Pixels of a row, as declared.
        width: u32,
        /// Rows, as declared.
        height: u32,
        /// The limit that is exceeded.
        limit: Limit,
    },
    /// The file uses a feature of its format that the decoder does not support.
    #[error("a {format} of a kind that is not supported")]
    Unsupported {
        /// The file's format.
        format: Format,
        /// The feature, or the decoder's error.
        #[source]
        source: Cause,
    },
}

/// A limit that a picture exceeds, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Width times height.
    Pixels(u64),
    /// The longer side, in pixels.
    Side(u32),
    /// The longer side divided by the shorter.
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

    /// The image crate's error. A file that ends early is distinguished from one that is damaged.
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
