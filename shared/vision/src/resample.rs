//! Antialiased resampling of a window of a picture, with the sampling centres and kernels of Pillow's `resize(box=…)`.

use crate::{Picture, geometry::Window};
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use sightline_manifest::Interpolation;
use std::{cell::RefCell, ops::Range};

thread_local! {
    /// Kept, so that its intermediate buffer is allocated once per thread.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// The pixels of the window, as `width` × `height` RGB.
///
/// Horizontally first and then vertically, rounded to bytes in between, as Pillow does. By itself the resizer would
/// begin
/// with the vertical pass.
pub(crate) fn resample(
    picture: &Picture,
    window: Window,
    (width, height): (u32, u32),
    interpolation: Interpolation,
) -> Vec<u8> {
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        // The cubic with a = -0.5, which Pillow's BICUBIC is.
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    let rows = rows(&window, picture.height(), height, filter);
    let across = Window {
        top: rows.start.into(),
        height: rows.len() as f64,
        ..window
    };
    let down = Window {
        left: 0.0,
        top: window.top - f64::from(rows.start),
        width: width.into(),
        ..window
    };
    let narrow = (width, rows.end - rows.start);
    let source = (picture.width(), picture.height());
    let narrowed = pass(picture.rgb(), source, across, narrow, filter);
    pass(&narrowed, narrow, down, (width, height), filter)
}

/// The rows of the source that the vertical pass reads.
fn rows(window: &Window, source: u32, target: u32, filter: FilterType) -> Range<u32> {
    let radius = if filter == FilterType::Bilinear {
        1.0
    } else {
        2.0
    };
    let reach = radius * (window.height / f64::from(target)).max(1.0) + 1.0;
    let start = (window.top - reach).floor().max(0.0) as u32;
    let end = (window.top + window.height + reach)
        .ceil()
        .min(f64::from(source)) as u32;
    start..end
}

/// As [`resample`], but faster and with another rounding than Pillow's: vertically first, in one call.
pub(crate) fn quick(picture: &Picture, window: Window, target: (u32, u32)) -> Vec<u8> {
    let source = (picture.width(), picture.height());
    pass(picture.rgb(), source, window, target, FilterType::Bilinear)
}

/// One call of the resizer.
fn pass(
    rgb: &[u8],
    source: (u32, u32),
    window: Window,
    target: (u32, u32),
    filter: FilterType,
) -> Vec<u8> {
    let whole = "three bytes for each pixel";
    // Typed views: the untyped ones compile the kernels of all thirteen pixel types into this crate.
    let source = TypedImageRef::<U8x3>::from_buffer(source.0, source.1, rgb).expect(whole);
    let mut made = vec![0; 3 * target.0 as usize * target.1 as usize];
    let mut to = TypedImage::<U8x3>::from_buffer(target.0, target.1, &mut made).expect(whole);
    let Window {
        left,
        top,
        width,
        height,
    } = window;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .crop(left, top, width, height);
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize_typed(&source, &mut to, &options))
        .expect("the window lies within the picture");
    made
}
