//! WebP, by image-webp directly: through the image crate its limit on metadata can't be set.

mod source;

use crate::{Error, Format, Limits, Picture, header, samples::drop_alpha, turn};
use image::metadata::Orientation;
use image_webp::{DecodingError, WebPDecoder};
use source::Source;
use std::io::ErrorKind;

const FORMAT: Format = Format::Webp;

/// Larger EXIF is not read: a chunk may declare 4 GiB, and the decoder allocates the declared length.
const MOST_EXIF: usize = 1 << 20;

/// The largest length that a partition of a lossy frame can declare. The decoder allocates it before it reads.
const PARTITION: u64 = 1 << 24;

/// Tables, and EXIF while it is read.
const OVERHEAD: u64 = 2 << 20;

pub(crate) struct Header<'a> {
    bytes: &'a [u8],
    decoder: WebPDecoder<Source<'a>>,
    lossy: bool,
    orientation: Orientation,
}

impl<'a> Header<'a> {
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let (source, canvas) = Source::new(bytes);
        let mut decoder = WebPDecoder::new(source).map_err(|error| sort(bytes, error))?;
        let size = decoder.dimensions();
        limits.check(FORMAT, size)?;
        canvas.set(size);
        decoder.set_memory_limit(MOST_EXIF);
        let exif = decoder.exif_metadata().ok().flatten();
        Ok(Self {
            bytes,
            lossy: decoder.is_lossy(),
            orientation: turn::orientation(exif.as_deref()),
            decoder,
        })
    }
}

impl header::Header for Header<'_> {
    fn size(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    /// From image-webp's `read_image` and what it calls.
    ///
    /// Not bounded are the Huffman codes of lossless data: up to 65,536 groups of them, of which only the coded data
    /// says the number, cost up to 60 kB each. The library has no limit for them; untrusted files need a limit on the
    /// process.
    fn memory(&self) -> u64 {
        let (width, height) = self.size();
        let pixels = u64::from(width) * u64::from(height);
        let alpha = self.decoder.has_alpha();
        let output = if alpha { 4 * pixels } else { 3 * pixels };
        // Luma and halved colour, and what the decoder notes of each 16 × 16 pixels.
        let planes = 2 * pixels;
        // Of lossy data; it is copied twice, the first time into a buffer that grows by doubling.
        let coded = if self.lossy {
            3 * self.bytes.len() as u64 + PARTITION
        } else {
            0
        };
        // Predictors, colour transform, and which codes hold where: at most one for each 4 × 4 pixels. And the codes.
        let codes = 3 * pixels / 4 + pixels / 4 + (4 << 20);
        let frame = if self.decoder.is_animated() {
            // A frame that may have alpha whatever the header says, and the canvas that it is laid on.
            (8 * pixels + codes).max(planes + pixels + coded)
        } else if !self.lossy {
            // With alpha straight into the output.
            codes + if alpha { 0 } else { 4 * pixels }
        } else if alpha {
            // Alpha is coded as a lossless picture, its channel then taken out of it.
            planes + coded.max(5 * pixels + codes)
        } else {
            planes + coded
        };
        let turning = turn::memory(self.orientation, output, 3 * pixels);
        let edges = 64 * (u64::from(width) + u64::from(height));
        (output + frame).max(turning) + edges + OVERHEAD
    }

    fn decode(self: Box<Self>) -> Result<Picture, Error> {
        let Self {
            bytes,
            mut decoder,
            orientation,
            ..
        } = *self;
        let size = decoder.dimensions();
        let length = decoder.output_buffer_size();
        let mut pixels = vec![0; length.ok_or_else(|| Error::corrupt(FORMAT, "too large"))?];
        decoder
            .read_image(&mut pixels)
            .map_err(|error| sort(bytes, error))?;
        let alpha = decoder.has_alpha();
        drop(decoder);
        let rgb = if alpha { drop_alpha(pixels) } else { pixels };
        turn::upright(FORMAT, size, rgb, orientation)
    }
}

/// The decoder calls a file that ends early damaged.
fn sort(bytes: &[u8], error: DecodingError) -> Error {
    match error {
        DecodingError::UnsupportedFeature(_) => Error::Unsupported {
            format: FORMAT,
            source: error.into(),
        },
        DecodingError::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => {
            Error::Truncated { format: FORMAT }
        }
        _ if is_cut(bytes) => Error::Truncated { format: FORMAT },
        error => Error::corrupt(FORMAT, error),
    }
}

/// Whether the file is shorter than its RIFF header says.
fn is_cut(bytes: &[u8]) -> bool {
    let declared = bytes.get(4..8).and_then(|size| size.try_into().ok());
    declared.is_some_and(|size| bytes.len() as u64 - 8 < u64::from(u32::from_le_bytes(size)))
}
