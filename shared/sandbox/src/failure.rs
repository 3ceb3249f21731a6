//! The ways in which a call of a worker fails.

use std::{io, time::Duration};

/// Why a worker did not answer. It is gone after every failure but [`Panicked`](Self::Panicked).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It died while it worked on the request: by a signal, by a forbidden system call, or by exiting.
    #[error("the decoder's process died: {0}")]
    Crashed(String),
    /// It asked for more memory than it was granted.
    #[error("decoding took more than the {granted} bytes of memory that its header accounts for")]
    Memory {
        /// Bytes that it was granted on top of its base.
        granted: u64,
    },
    /// It took more processor time than allowed.
    #[error("decoding took more than {0:?} of work")]
    Time(Duration),
    /// It was killed from outside, by an operator or by the kernel for lack of memory. The request is not the cause.
    #[error("the decoder's process was ended from outside ({0})")]
    Killed(String),
    /// The job panicked; the worker still runs.
    #[error("decoding panicked: {0}")]
    Panicked(String),
    /// The socket failed.
    #[error("can't talk to the decoder's process")]
    Io(#[from] io::Error),
}

impl Failure {
    /// Whether the worker can take the next request.
    pub fn worker_lives(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}
