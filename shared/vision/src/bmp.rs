//! BMP, by the image crate, which also converts palettes and bit fields to RGB.

use crate::{Error, Format, Limits, Picture, header, samples::drop_alpha, turn};
use image::{ColorType, ImageDecoder, codecs::bmp::BmpDecoder, metadata::Orientation};
use std::io::Cursor;

const FORMAT: Format = Format::Bmp;

/// Memory for the decoder's palette and a row of indices, and the overhead of allocations.
const OVERHEAD: u64 = 64 << 10;

pub(crate) struct Header<'a> {
    decoder: BmpDecoder<Cursor<&'a [u8]>>,
}

impl<'a> Header<'a> {
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let decoder =
            BmpDecoder::new(Cursor::new(bytes)).map_err(|e| Error::from_image(FORMAT, e))?;
        limits.check(FORMAT, decoder.dimensions())?;
        Ok(Self { decoder })
    }
}

impl header::Header for Header<'_> {
    fn size(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    /// The decoder's pixels, with alpha if the file has it, and a row. Alpha is dropped in place.
    fn memory(&self) -> u64 {
        self.decoder.total_bytes() + u64::from(self.size().0) + OVERHEAD
    }

    fn decode(self: Box<Self>) -> Result<Picture, Error> {
        let size = self.size();
        let color = self.decoder.color_type();
        let mut pixels = vec![0; self.decoder.total_bytes() as usize];
        self.decoder
            .read_image(&mut pixels)
            .map_err(|error| Error::from_image(FORMAT, error))?;
        let rgb = match color {
            ColorType::Rgb8 => pixels,
            ColorType::Rgba8 => drop_alpha(pixels),
            other => {
                return Err(Error::corrupt(
                    FORMAT,
                    format!("unexpected pixels {other:?}"),
                ));
            }
        };
        turn::upright(FORMAT, size, rgb, Orientation::NoTransforms)
    }
}
