//! Bytes to pixels in two steps: the header, which says what the picture needs, and the picture.

use crate::{Error, Format, Limits, Picture, bmp, jpeg, png, webp};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A picture whose header was read and lies within the limits. Nothing of the size of its pixels is allocated yet.
pub struct Encoded<'a> {
    format: Format,
    width: u32,
    height: u32,
    memory: u64,
    header: Header<'a>,
}

/// The decoder that has read the header, and will read the pixels.
enum Header<'a> {
    Jpeg(Box<jpeg::Header<'a>>),
    Png(Box<png::Header<'a>>),
    Bmp(Box<bmp::Header<'a>>),
    Webp(Box<webp::Header<'a>>),
}

/// Reads the header and checks it against the limits.
pub fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Encoded<'a>, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    let format = Format::detect(bytes).ok_or_else(|| Error::unrecognised(bytes))?;
    guarded(format, || match format {
        Format::Jpeg => jpeg::Header::open(bytes, limits).map(|header| Encoded {
            format,
            width: header.size().0,
            height: header.size().1,
            memory: header.memory(),
            header: Header::Jpeg(Box::new(header)),
        }),
        Format::Png => png::Header::open(bytes, limits).map(|header| Encoded {
            format,
            width: header.size().0,
            height: header.size().1,
            memory: header.memory(),
            header: Header::Png(Box::new(header)),
        }),
        Format::Bmp => bmp::Header::open(bytes, limits).map(|header| Encoded {
            format,
            width: header.size().0,
            height: header.size().1,
            memory: header.memory(),
            header: Header::Bmp(Box::new(header)),
        }),
        Format::Webp => webp::Header::open(bytes, limits).map(|header| Encoded {
            format,
            width: header.size().0,
            height: header.size().1,
            memory: header.memory(),
            header: Header::Webp(Box::new(header)),
        }),
    })
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
        self.width
    }

    /// As stored: before it is turned upright.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// At most so many bytes are allocated at once until [`decode`](Self::decode) returns: the decoder's own, and the
    /// picture. The file's bytes don't count.
    ///
    /// One kind of file can pass it: a lossless WebP says only within its coded data how many Huffman codes it has.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// The whole picture, upright by its EXIF orientation; of an animation the first frame. Alpha is dropped.
    pub fn decode(self) -> Result<Picture, Error> {
        guarded(self.format, || match self.header {
            Header::Jpeg(header) => header.decode(),
            Header::Png(header) => header.decode(),
            Header::Bmp(header) => header.decode(),
            Header::Webp(header) => header.decode(),
        })
    }
}

impl fmt::Debug for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} {}×{})", self.format, self.width, self.height)
    }
}

/// The decoders are other people's, the bytes anybody's: a panic must not cost more than this picture.
fn guarded<T>(format: Format, step: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(Error::corrupt(format, "the decoder panicked")))
}
