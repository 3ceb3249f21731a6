//! Decoding in two steps: [`open`] reads the header, which says how much memory the picture takes; [`Encoded::decode`]
//! reads the pixels.

use crate::{Error, Format, Limits, Picture, bmp, header::Header, jpeg, png, webp};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A picture whose header has been read and is within the limits. No memory is allocated for its pixels yet.
pub struct Encoded<'a> {
    format: Format,
    header: Box<dyn Header + 'a>,
}

/// Reads the header and checks it against the limits.
///
/// # Errors
/// The bytes are of no supported format or damaged, or the header declares more than the limits allow.
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

/// [`open`] and [`Encoded::decode`] in one call.
///
/// # Errors
/// Those of both.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Error> {
    open(bytes, limits)?.decode()
}

impl Encoded<'_> {
    /// The file's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Pixels of a row as stored, before the EXIF orientation is applied.
    pub fn width(&self) -> u32 {
        self.header.size().0
    }

    /// Rows as stored, before the EXIF orientation is applied.
    pub fn height(&self) -> u32 {
        self.header.size().1
    }

    /// An upper bound of the bytes that are allocated at any time until [`decode`](Self::decode) returns: the decoder's
    /// memory and the picture. The file's bytes are not included.
    ///
    /// One kind of file can exceed it: a lossless WebP declares the number of its Huffman codes only within its coded
    /// data.
    pub fn memory(&self) -> u64 {
        self.header.memory()
    }

    /// Decodes the complete picture and turns it upright by its EXIF orientation. Takes the first frame of an
    /// animation.
    /// Drops alpha.
    ///
    /// # Errors
    /// The file ends early, is damaged, or has a feature that is not supported.
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

/// Turns a panic of a decoder into an error of this picture.
fn guarded<T>(format: Format, step: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(Error::corrupt(format, "the decoder panicked")))
}
