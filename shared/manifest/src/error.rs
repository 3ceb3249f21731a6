//! Why a model can't be had from where it is said to be.

use std::fmt;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is in the way, by what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read now: a path that is not there, a hub that does not answer.
    #[error("can't read {what}")]
    Unavailable {
        /// The file.
        what: String,
        /// Why.
        source: Cause,
    },
    /// What was read is not what it should be.
    #[error("{what} is not usable: {why}")]
    Invalid {
        /// The file, or the part of it.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    pub(crate) fn unavailable(what: impl fmt::Display, source: impl Into<Cause>) -> Self {
        Self::Unavailable {
            what: what.to_string(),
            source: source.into(),
        }
    }

    /// Something that was read and is not what it should be.
    pub fn invalid(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Invalid {
            what: what.to_string(),
            why: why.to_string(),
        }
    }
}
