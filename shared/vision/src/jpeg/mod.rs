//! JPEG, by zune-jpeg itself: through the image crate it shows grey where a file was cut off.
//!
//! Where it and libjpeg, which Pillow uses, differ by more than a rounding of the inverse cosine transform, libjpeg's
//! arithmetic is used: see [`chroma`].

mod chroma;
mod halved;
mod markers;

use crate::{
    Error, Format, Limits, Picture,
    decode::{spread, upright},
};
use image::metadata::Orientation;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

const FORMAT: Format = Format::Jpeg;

/// Bytes a pixel costs: the output, and the coefficients that a progressive file has in memory until its last scan.
const BYTES_PER_PIXEL: u64 = 3 + 4 * 2;

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Error> {
    let mut decoder = decoder(bytes, ColorSpace::RGB);
    decoder
        .decode_headers()
        .map_err(|error| sort(bytes, error))?;
    let (width, height) = decoder
        .dimensions()
        .ok_or_else(|| Error::corrupt(FORMAT, "no frame header"))?;
    let size = (width as u32, height as u32);
    limits.check(size.0, size.1, BYTES_PER_PIXEL)?;
    if !markers::is_complete(bytes) {
        return Err(Error::Truncated { format: FORMAT });
    }
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif));
    let rgb = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => {
            spread(&pixels(bytes, size, ColorSpace::Luma)?, |[grey]| [grey; 3])
        }
        Some(ColorSpace::YCbCr) => match halved::Rearranged::new(bytes) {
            Some(rearranged) => rearranged.decode()?,
            None => pixels(bytes, size, ColorSpace::RGB)?,
        },
        _ => pixels(bytes, size, ColorSpace::RGB)?,
    };
    upright(
        FORMAT,
        size,
        rgb,
        orientation.unwrap_or(Orientation::NoTransforms),
    )
}

fn decoder(bytes: &[u8], output: ColorSpace) -> JpegDecoder<ZCursor<&[u8]>> {
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_out_colorspace(output);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// All pixels of a file whose frame has this size, interleaved.
fn pixels(bytes: &[u8], (width, height): (u32, u32), output: ColorSpace) -> Result<Vec<u8>, Error> {
    let mut pixels = vec![0; output.num_components() * width as usize * height as usize];
    decoder(bytes, output)
        .decode_into(&mut pixels)
        .map_err(|error| sort(bytes, error))?;
    Ok(pixels)
}

fn sort(bytes: &[u8], error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(_) => Error::Unsupported {
            format: FORMAT,
            source: error.into(),
        },
        _ if !markers::is_complete(bytes) => Error::Truncated { format: FORMAT },
        error => Error::corrupt(FORMAT, error),
    }
}
