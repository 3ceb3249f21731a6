//! Bytes to pixels in two steps: the header, which says what the picture needs, and the picture.

use crate::{Error, Format, Limits, Picture, bmp, header::Header, jpeg, png, webp};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A picture whose header was read and lies within the limits. Nothing of the size of its pixels is allocated yet.
pub struct Encoded<'a> {
    format: Format,
    header: Box<dyn Header + 'a>,
}

/// Reads the header and checks it against the limits.
pub fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Encoded<'a>, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    let format = Format::detect(bytes).ok_or_else(|| Error::unrecognised(bytes))?;
    let header = guarded(format, || {
        Ok(match format {
            Format::Jpeg => Box::new(jpeg::Header::open(bytes, limits)?) as Box<dyn Header>,
            Format::Png => Box::new(png::Header::open(bytes, limits)?),
            Format::Bmp => Box::new(bmp::Header::open(bytes, limits)?),
            Format::Webp => Box::new(webp::Header::open(bytes, limits)?),
        })
    })?;
    Ok(Encoded { format, header })
}

/// The whole picture, upright by its EXIF orientation; of an animation the first frame. Alpha is dropped.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Error> {
    open(bytes, limits)?.decode()
}

impl Encoded<'_> {
    pub fn format(&self) -> Format {
        self.format
    }

    /// As stored: before it is turned upright.
    pub fn width(&self) -> u32 {
        self.header.size().0
    }

    /// As stored: before it is turned upright.
    pub fn height(&self) -> u32 {
        self.header.size().1
    }

    /// At most so many bytes are allocated at once until [`decode`](Self::decode) returns: the decoder's own, and the
    /// picture. The file's bytes don't count.
    ///
    /// One kind of file can pass it: a lossless WebP says only within its coded data how many Huffman codes it has.
    pub fn memory(&self) -> u64 {
        self.header.memory()
    }

    /// The whole picture, upright by its EXIF orientation; of an animation the first frame. Alpha is dropped.
    pub fn decode(self) -> Result<Picture, Error> {
        guarded(self.format, || self.header.decode())
    }
}

impl fmt::Debug for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.header.size();
        write!(f, "Encoded({} {width}×{height})", self.format)
    }
}

/// The decoders are other people's, the bytes anybody's: a panic must not cost more than this picture.
fn guarded<T>(format: Format, step: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(Error::corrupt(format, "the decoder panicked")))
}
