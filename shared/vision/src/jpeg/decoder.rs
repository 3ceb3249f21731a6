//! zune-jpeg with the options used here, and its errors as [`Error`].

use super::{
    markers,
    source::{Source, Trace},
};
use crate::{Error, Format};
use zune_core::{colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

pub(crate) const FORMAT: Format = Format::Jpeg;

/// A decoder of these bytes that writes pixels of `output`, and the trace of what it reads.
pub(crate) fn open(bytes: &[u8], output: ColorSpace) -> (JpegDecoder<Source<'_>>, Trace) {
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_out_colorspace(output);
    let (source, trace) = Source::new(bytes);
    (JpegDecoder::new_with_options(source, options), trace)
}

/// The decoder's error. Files that are truncated or of an unsupported kind are distinguished from damaged ones.
pub(crate) fn sort(bytes: &[u8], error: DecodeErrors) -> Error {
    if let Some(kind) = markers::unsupported(bytes) {
        return Error::Unsupported {
            format: FORMAT,
            source: kind.into(),
        };
    }
    match error {
        DecodeErrors::Unsupported(_) => Error::Unsupported {
            format: FORMAT,
            source: error.into(),
        },
        _ if !markers::is_complete(bytes) => Error::Truncated { format: FORMAT },
        error => Error::corrupt(FORMAT, error),
    }
}
