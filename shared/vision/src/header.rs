//! What every format's decoder does: it reads the header first, and the pixels later.

use crate::{Error, Picture};

/// A decoder that has read the header of a file, and will read the pixels.
pub(crate) trait Header {
    /// Width and height in pixels, as stored: before the EXIF orientation is applied.
    fn size(&self) -> (u32, u32);

    /// The peak of the bytes that [`decode`](Self::decode) allocates, the picture included; the file's bytes are not.
    fn memory(&self) -> u64;

    /// Decodes the pixels, upright and as RGB.
    fn decode(self: Box<Self>) -> Result<Picture, Error>;
}
