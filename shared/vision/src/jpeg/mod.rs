//! JPEG, by zune-jpeg directly: through the image crate it would decode the missing part of a truncated file as grey.
//!
//! Pillow uses libjpeg. Where zune-jpeg differs from it by more than a rounding of the inverse cosine transform,
//! libjpeg's
//! arithmetic is used: see [`chroma`].
//!
//! Only zune-jpeg's reader of the header decides sizes. What else is needed from the header is observed while it reads
//! ([`source`]). [`markers`] only finds out whether a file is truncated, and why one was refused.

mod chroma;
mod decoder;
mod frame;
mod halved;
mod markers;
mod source;

use crate::{Error, Limits, Picture, header, samples::spread_grey, turn};
use decoder::{FORMAT, sort};
use frame::Frame;
use halved::Rearranged;
use image::metadata::Orientation;
use source::Source;
use zune_core::colorspace::ColorSpace;
use zune_jpeg::JpegDecoder;

/// The decoder's tables, and the copies of EXIF, which is one segment of at most 64 KiB.
const OVERHEAD: u64 = 256 << 10;

pub(crate) struct Header<'a> {
    bytes: &'a [u8],
    decoder: JpegDecoder<Source<'a>>,
    frame: Frame,
    orientation: Orientation,
}

impl<'a> Header<'a> {
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let (mut decoder, trace) = decoder::open(bytes, ColorSpace::RGB);
        let read = decoder.decode_headers();
        read.map_err(|error| sort(bytes, error))?;
        let frame = Frame::of(bytes, &decoder, &trace)
            .ok_or_else(|| Error::corrupt(FORMAT, "no frame header"))?;
        limits.check(FORMAT, frame.size)?;
        let orientation = turn::orientation(decoder.exif().map(|exif| &exif[..]));
        Ok(Self {
            bytes,
            decoder,
            frame,
            orientation,
        })
    }
}

impl header::Header for Header<'_> {
    fn size(&self) -> (u32, u32) {
        self.frame.size
    }

    fn memory(&self) -> u64 {
        let (width, height) = self.size();
        let picture = 3 * u64::from(width) * u64::from(height);
        let decoding = match Rearranged::plan(&self.frame) {
            // If decoding the rewritten file fails, the frame is decoded as it is.
            Some(plan) => plan
                .memory(self.bytes.len())
                .max(picture + self.frame.working_memory()),
            None => picture + self.frame.working_memory(),
        };
        decoding.max(turn::memory(self.orientation, picture, picture)) + OVERHEAD
    }

    fn decode(self: Box<Self>) -> Result<Picture, Error> {
        let Self {
            bytes,
            decoder,
            frame,
            orientation,
        } = *self;
        if !markers::is_complete(bytes) {
            return Err(Error::Truncated { format: FORMAT });
        }
        let rgb = match Rearranged::plan(&frame).and_then(|plan| plan.decode(bytes)) {
            Some(decoded) => decoded?,
            None => pixels(bytes, decoder, &frame)?,
        };
        turn::upright(FORMAT, frame.size, rgb, orientation)
    }
}

/// Decodes the frame to RGB with the decoder that has read its header.
fn pixels(bytes: &[u8], mut decoder: JpegDecoder<Source>, frame: &Frame) -> Result<Vec<u8>, Error> {
    let count = frame.size.0 as usize * frame.size.1 as usize;
    let mut rgb = vec![0; 3 * count];
    let grey = frame.colour == ColorSpace::Luma;
    if grey {
        let options = decoder.options().jpeg_set_out_colorspace(ColorSpace::Luma);
        decoder.set_options(options);
    }
    let samples = if grey {
        &mut rgb[..count]
    } else {
        &mut rgb[..]
    };
    decoder
        .decode_into(samples)
        .map_err(|error| sort(bytes, error))?;
    drop(decoder);
    if grey {
        spread_grey(&mut rgb);
    }
    Ok(rgb)
}
