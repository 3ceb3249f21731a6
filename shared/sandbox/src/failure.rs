//! What a call of a worker may end in instead of an answer.

use std::{io, time::Duration};

/// Why there is no answer. After all but [`Panicked`](Self::Panicked) the worker is gone.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It died of the request: a signal, a system call that it may not make, an exit of its own.
    #[error("the decoder's process died: {0}")]
    Crashed(String),
    /// It asked for more memory than it was granted.
    #[error("decoding took more than the {granted} bytes of memory that its header accounts for")]
    Memory {
        /// Bytes beyond the process's own.
        granted: u64,
    },
    /// It worked longer than it may.
    #[error("decoding took more than {0:?} of work")]
    Time(Duration),
    /// Somebody else ended it, an operator or the kernel for want of memory: the request is not to blame.
    #[error("the decoder's process was ended from outside ({0})")]
    Killed(String),
    /// The job panicked; the worker goes on.
    #[error("decoding panicked: {0}")]
    Panicked(String),
    /// It could not be talked to.
    #[error("can't talk to the decoder's process")]
    Io(#[from] io::Error),
}

impl Failure {
    /// Whether the worker can take the next request.
    pub fn worker_lives(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}
