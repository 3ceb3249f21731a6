//! Bytes to pixels, within limits.

use crate::{Error, Format, Picture, error::Limit, jpeg};
use image::{
    ColorType, DynamicImage, ImageDecoder, RgbImage,
    codecs::{bmp::BmpDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::Orientation,
};
use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What a picture may cost. Checked against its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub max_pixels: u64,
    /// Width, and height.
    pub max_side: u32,
    /// Bytes of decoded pixels as the file stores them: 3 for a pixel of RGB, 8 for one of 16-bit RGBA, 11 for one of
    /// a JPEG, whose coefficients a progressive file needs in memory.
    pub max_alloc_bytes: u64,
}

/// 50 megapixels, 600 MB.
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
            max_side: 65_535,
            max_alloc_bytes: 600_000_000,
        }
    }
}

impl Limits {
    pub(crate) fn check(&self, width: u32, height: u32, bytes_per_pixel: u64) -> Result<(), Error> {
        let pixels = u64::from(width) * u64::from(height);
        let limit = if width.max(height) > self.max_side {
            Limit::Side(self.max_side)
        } else if pixels > self.max_pixels {
            Limit::Pixels(self.max_pixels)
        } else if pixels.saturating_mul(bytes_per_pixel) > self.max_alloc_bytes {
            Limit::Bytes(self.max_alloc_bytes)
        } else {
            return Ok(());
        };
        Err(Error::TooManyPixels {
            width,
            height,
            limit,
        })
    }
}

/// The whole picture, upright by its EXIF orientation; of an animation the first frame. Alpha is dropped.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    let format = Format::detect(bytes).ok_or_else(|| Error::unrecognised(bytes))?;
    // The decoders are other people's, the bytes anybody's: a panic must not cost more than this picture.
    catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, limits)))
        .unwrap_or_else(|_| Err(Error::corrupt(format, "the decoder panicked")))
}

fn decode_as(format: Format, bytes: &[u8], limits: &Limits) -> Result<Picture, Error> {
    let wrong = |error| Error::from_image(format, error);
    let cursor = Cursor::new(bytes);
    match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => {
            // Bounds what ancillary chunks inflate to, too.
            let mut bounds = image::Limits::no_limits();
            bounds.max_alloc = Some(limits.max_alloc_bytes);
            read(
                format,
                PngDecoder::with_limits(cursor, bounds).map_err(wrong)?,
                limits,
            )
        }
        Format::Bmp => read(format, BmpDecoder::new(cursor).map_err(wrong)?, limits),
        Format::Webp => WebPDecoder::new(cursor)
            .map_err(wrong)
            .and_then(|decoder| read(format, decoder, limits))
            .map_err(|error| {
                if webp_is_cut(bytes) {
                    Error::Truncated { format }
                } else {
                    error
                }
            }),
    }
}

/// Whether the file is shorter than its RIFF header says; the decoder calls that damage.
fn webp_is_cut(bytes: &[u8]) -> bool {
    let declared = bytes.get(4..8).and_then(|size| size.try_into().ok());
    declared.is_some_and(|size| bytes.len() as u64 - 8 < u64::from(u32::from_le_bytes(size)))
}

fn read(format: Format, mut decoder: impl ImageDecoder, limits: &Limits) -> Result<Picture, Error> {
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    limits.check(width, height, u64::from(color.bytes_per_pixel()))?;
    // Metadata that can't be read is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut raw = vec![0; decoder.total_bytes() as usize];
    decoder
        .read_image(&mut raw)
        .map_err(|error| Error::from_image(format, error))?;
    let rgb = rgb(color, raw)
        .ok_or_else(|| Error::corrupt(format, format!("unexpected pixels {color:?}")))?;
    upright(format, (width, height), rgb, orientation)
}

/// Three bytes a pixel, as Pillow's `convert("RGB")`: alpha dropped, of 16 bits the high byte.
fn rgb(color: ColorType, raw: Vec<u8>) -> Option<Vec<u8>> {
    let wide = |raw: &[u8]| -> Vec<u8> {
        let (samples, _) = raw.as_chunks::<2>();
        samples
            .iter()
            .map(|sample| (u16::from_ne_bytes(*sample) >> 8) as u8)
            .collect()
    };
    Some(match color {
        ColorType::Rgb8 => raw,
        ColorType::L8 => spread(&raw, |[grey]| [grey; 3]),
        ColorType::La8 => spread(&raw, |[grey, _]| [grey; 3]),
        ColorType::Rgba8 => spread(&raw, |[r, g, b, _]| [r, g, b]),
        ColorType::Rgb16 => wide(&raw),
        ColorType::L16 => spread(&wide(&raw), |[grey]| [grey; 3]),
        ColorType::La16 => spread(&wide(&raw), |[grey, _]| [grey; 3]),
        ColorType::Rgba16 => spread(&wide(&raw), |[r, g, b, _]| [r, g, b]),
        _ => return None,
    })
}

/// Turns pixels of N samples into RGB.
pub(crate) fn spread<const N: usize>(raw: &[u8], pixel: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = raw.as_chunks::<N>();
    let mut rgb = vec![0; 3 * pixels.len()];
    for (to, from) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
        *to = pixel(*from);
    }
    rgb
}

pub(crate) fn upright(
    format: Format,
    (width, height): (u32, u32),
    rgb: Vec<u8>,
    orientation: Orientation,
) -> Result<Picture, Error> {
    let empty = || Error::corrupt(format, format!("{width}×{height} pixels"));
    if orientation == Orientation::NoTransforms {
        return Picture::from_rgb(width, height, rgb).ok_or_else(empty);
    }
    let mut turned =
        DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, rgb).ok_or_else(empty)?);
    turned.apply_orientation(orientation);
    let turned = turned.into_rgb8();
    let (width, height) = turned.dimensions();
    Picture::from_rgb(width, height, turned.into_raw()).ok_or_else(empty)
}
