//! The part of the picture that a tensor or a thumbnail shows, as a box in the picture's coordinates.

use sightline_manifest::{Preprocessing, Resize};

/// A rectangle of the source picture, in pixels, which may be fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// The window that, resampled to `preprocessing.size`, equals resizing the whole picture and cropping its centre.
///
/// torchvision: the shortest edge becomes `s`, the other `int(s * long / short)`; the crop begins at
/// `int(round((edge - size) / 2.0))`, where Python rounds halves to the even neighbour. For a size that is not square
/// the edge that is relatively shorter leads.
pub(crate) fn window((width, height): (u32, u32), preprocessing: &Preprocessing) -> Window {
    let [crop_height, crop_width] = preprocessing.size.map(|side| side as u64);
    let enlarged =
        |side: u64| ((side as f64 / preprocessing.crop_fraction).round() as u64).max(side);
    let target = (enlarged(crop_width), enlarged(crop_height));
    let (width, height) = (u64::from(width), u64::from(height));
    let resized = match preprocessing.resize {
        Resize::Stretch => target,
        Resize::ShortestEdge => cover((width, height), target),
    };
    let (left, span) = axis(width, resized.0, crop_width);
    let (top, rise) = axis(height, resized.1, crop_height);
    Window {
        left,
        top,
        width: span,
        height: rise,
    }
}

/// The smallest size with these proportions whose edges are not shorter than the target's; the long edge is rounded
/// down.
fn cover((width, height): (u64, u64), (target_width, target_height): (u64, u64)) -> (u64, u64) {
    if width * target_height <= height * target_width {
        (target_width, target_width * height / width)
    } else {
        (target_height * width / height, target_height)
    }
}

/// Start and length of a centred crop on an edge of `source` pixels: the crop has `crop` of the `resized` pixels.
fn axis(source: u64, resized: u64, crop: u64) -> (f64, f64) {
    let start = ((resized - crop) as f64 / 2.0).round_ties_even();
    let scale = source as f64 / resized as f64;
    within(source, start * scale, crop as f64 * scale)
}

/// Limits start and length to the edge, which rounding errors of the last bit would exceed.
fn within(source: u64, start: f64, length: f64) -> (f64, f64) {
    let start = start.max(0.0);
    (start, length.min(source as f64 - start))
}

/// The largest centred window with the proportions of `target`.
pub(crate) fn cover_window((width, height): (u32, u32), target: (u32, u32)) -> Window {
    let (w, h) = (f64::from(width), f64::from(height));
    let (tw, th) = (f64::from(target.0), f64::from(target.1));
    let scale = (w / tw).min(h / th);
    let (span, rise) = ((tw * scale).min(w), (th * scale).min(h));
    let (left, span) = within(u64::from(width), (w - span) / 2.0, span);
    let (top, rise) = within(u64::from(height), (h - rise) / 2.0, rise);
    Window {
        left,
        top,
        width: span,
        height: rise,
    }
}

/// The largest size of the picture's proportions that fits into `bounds`; at least 1×1.
pub(crate) fn contain_size((width, height): (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    let scale =
        (f64::from(bounds.0) / f64::from(width)).min(f64::from(bounds.1) / f64::from(height));
    let side =
        |length: u32, bound: u32| ((f64::from(length) * scale).round() as u32).clamp(1, bound);
    (side(width, bounds.0), side(height, bounds.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_torchvision_s() {
        assert_eq!(cover((640, 480), (256, 256)), (341, 256));
        assert_eq!(cover((480, 640), (256, 256)), (256, 341));
        assert_eq!(cover((1, 5000), (256, 256)), (256, 1_280_000));
        // (341 - 224) / 2 is 58.5: Python rounds to 58.
        let Window { left, top, .. } = window((640, 480), &Preprocessing::default());
        assert_eq!((left, top), (58.0 * 640.0 / 341.0, 16.0 * 480.0 / 256.0));
    }

    #[test]
    fn fitting_keeps_proportions() {
        assert_eq!(contain_size((1000, 500), (128, 128)), (128, 64));
        assert_eq!(contain_size((1, 5000), (128, 128)), (1, 128));
        let all = cover_window((1000, 500), (128, 128));
        assert_eq!(
            all,
            Window {
                left: 250.0,
                top: 0.0,
                width: 500.0,
                height: 500.0
            }
        );
    }

    proptest! {
        #[test]
        fn a_window_lies_within_its_picture(
            w in 1u32..=65_535, h in 1u32..=65_535, size in (1usize..=4096, 1usize..=4096),
            crop_fraction in 0.05f64..=1.0, stretch: bool, target in (1u32..=2048, 1u32..=2048),
        ) {
            let resize = if stretch { Resize::Stretch } else { Resize::ShortestEdge };
            let preprocessing =
                Preprocessing { size: [size.0, size.1], crop_fraction, resize, ..Preprocessing::default() };
            for window in [window((w, h), &preprocessing), cover_window((w, h), target)] {
                prop_assert!(window.left >= 0.0 && window.top >= 0.0);
                prop_assert!(window.width > 0.0 && window.height > 0.0);
                prop_assert!(window.left + window.width <= f64::from(w), "{window:?}");
                prop_assert!(window.top + window.height <= f64::from(h), "{window:?}");
            }
        }
    }
}
