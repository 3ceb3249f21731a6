//! Errors of building a network.

/// Why a convolution or a network could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The sizes given contradict each other: correct the weights or the network's description.
    #[error("{what} has {found} elements where {expected} are needed")]
    Size {
        /// What has the wrong size.
        what: &'static str,
        /// Elements that the shape needs.
        expected: usize,
        /// Elements that were given.
        found: usize,
    },
    /// A well-formed request that this crate has no kernel for: use Candle's own operation.
    #[error("unsupported: {0}")]
    Unsupported(String),
}

pub(crate) fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Size {
        what,
        expected,
        found,
    })
}
