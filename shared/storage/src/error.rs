//! Errors of storage, by what the caller can do about them.

use crate::Location;

/// The cause of an [`Error`]: an S3 server's error response, or a failure of the connection.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed operation. The text names the object; [`source`](std::error::Error::source) is the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such object, version or bucket.
    #[error("{at}: not found")]
    NotFound {
        /// The object, or the bucket with an empty key.
        at: Location,
    },
    /// The credentials do not permit the operation. S3 also answers so for a missing object, if the credentials do not
    /// permit listing the bucket.
    #[error("{at}: access denied")]
    Denied {
        /// The object.
        at: Location,
        /// The server's response.
        #[source]
        source: Cause,
    },
    /// The object is larger than the caller allows.
    #[error("{at}: {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The object.
        at: Location,
        /// Bytes that the server declared, or that had arrived when the limit was passed.
        size: u64,
        /// [`Get::max_bytes`](crate::Get::max_bytes).
        limit: u64,
    },
    /// The object was replaced: its etag is not the one that the caller asked for.
    #[error("{at}: changed, its etag is no longer {expected}")]
    Changed {
        /// The object.
        at: Location,
        /// The etag that the caller asked for, without quotes.
        expected: String,
    },
    /// The server or the connection failed; the same call may succeed later.
    #[error("{at}: storage is unavailable")]
    Transient {
        /// The object.
        at: Location,
        /// The server's response, or the error of the connection.
        #[source]
        source: Cause,
    },
    /// The request can never succeed: S3 does not allow the name, or the server refused an argument.
    #[error("{at}: invalid request")]
    Invalid {
        /// The object.
        at: Location,
        /// What is wrong with the request.
        #[source]
        source: Cause,
    },
    /// No call can succeed: the credentials, the endpoint or the region are missing or wrong.
    #[error("storage is set up wrongly")]
    Setup {
        /// What is missing or wrong.
        #[source]
        source: Cause,
    },
}

/// What to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Try again later.
    Retry,
    /// This object will fail every time; go on with the others.
    Reject,
    /// Every call fails until somebody corrects the settings.
    Stop,
}

impl Error {
    /// What the caller should do about this error.
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
