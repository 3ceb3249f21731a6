//! What can go wrong with an object, by what the caller can do about it.

use crate::Location;

/// The cause behind an [`Error`]: an S3 server's own words, or a failure of the connection.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed operation. The text names the object, [`source`](std::error::Error::source) holds the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such object, version or bucket.
    #[error("{at}: not found")]
    NotFound { at: Location },
    /// These credentials may not do this here. S3 also says so of a missing object to those who may not list.
    #[error("{at}: access denied")]
    Denied {
        at: Location,
        #[source]
        source: Cause,
    },
    /// The object is larger than the caller allows. `size` is what the server declared, or what had arrived.
    #[error("{at}: {size} bytes, more than the limit of {limit}")]
    TooLarge { at: Location, size: u64, limit: u64 },
    /// The object is not the one the caller asked for: its etag is another now.
    #[error("{at}: changed, its etag is no longer {expected}")]
    Changed { at: Location, expected: String },
    /// The server or the way to it failed; the same call may succeed later.
    #[error("{at}: storage is unavailable")]
    Transient {
        at: Location,
        #[source]
        source: Cause,
    },
    /// The request itself is wrong and stays so: a name S3 doesn't take, a refused argument.
    #[error("{at}: invalid request")]
    Invalid {
        at: Location,
        #[source]
        source: Cause,
    },
    /// No call can succeed: credentials are missing or wrong, or endpoint or region are.
    #[error("storage is set up wrongly")]
    Setup {
        #[source]
        source: Cause,
    },
}

/// What to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Try again later.
    Retry,
    /// This object never works; go on with the others.
    Reject,
    /// Nothing works until a person corrects the settings.
    Stop,
}

impl Error {
    pub fn advice(&self) -> Advice {
        match self {
            Self::Transient { .. } => Advice::Retry,
            Self::Setup { .. } => Advice::Stop,
            Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::TooLarge { .. }
            | Self::Changed { .. }
            | Self::Invalid { .. } => Advice::Reject,
        }
    }

    pub(crate) fn invalid(at: Location, why: impl Into<Cause>) -> Self {
        Self::Invalid {
            at,
            source: why.into(),
        }
    }
}
