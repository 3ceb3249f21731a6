//! Turning a picture upright: the eight orientations of EXIF.

use crate::{Error, Format, Picture};
use image::metadata::Orientation;

/// The upright picture, filled with the rows of the stored one in any order.
pub(crate) struct Canvas {
    rgb: Vec<u8>,
    size: (u32, u32),
    /// Of the stored picture.
    width: usize,
    /// The position of the stored picture's first pixel, in pixels.
    origin: isize,
    /// The distance from a stored pixel to its right neighbour, in pixels.
    across: isize,
    /// The distance from a stored pixel to the one below, in pixels.
    down: isize,
}

impl Canvas {
    /// For a stored picture of this size; neither side is 0.
    pub fn new((width, height): (u32, u32), orientation: Orientation) -> Self {
        let (w, h) = (width as isize, height as isize);
        let last = w * h - 1;
        let (origin, across, down) = match orientation {
            Orientation::NoTransforms => (0, 1, w),
            Orientation::FlipHorizontal => (w - 1, -1, w),
            Orientation::Rotate180 => (last, -1, -w),
            Orientation::FlipVertical => (last + 1 - w, 1, -w),
            Orientation::Rotate90FlipH => (0, h, 1),
            Orientation::Rotate90 => (h - 1, h, -1),
            Orientation::Rotate270FlipH => (last, -h, -1),
            Orientation::Rotate270 => (last + 1 - h, -h, 1),
        };
        let size = if transposes(orientation) {
            (height, width)
        } else {
            (width, height)
        };
        Self {
            rgb: vec![0; 3 * width as usize * height as usize],
            size,
            width: width as usize,
            origin,
            across,
            down,
        }
    }

    /// Puts pixels of the stored row `y`, from column `x` on, `step` columns apart.
    pub fn put(&mut self, y: usize, x: usize, step: usize, pixels: impl Iterator<Item = [u8; 3]>) {
        let first = self.origin + y as isize * self.down + x as isize * self.across;
        let step = step as isize * self.across;
        let (canvas, _) = self.rgb.as_chunks_mut::<3>();
        let mut at = first;
        for pixel in pixels {
            canvas[at as usize] = pixel;
            at += step;
        }
    }

    /// The stored row `y` within the upright picture; `None` if it is not contiguous and in order there.
    pub fn row(&mut self, y: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(self.origin + y as isize * self.down).ok()?;
        let whole = self.across == 1;
        whole.then(|| &mut self.rgb[3 * start..3 * (start + self.width)])
    }

    pub fn finish(self, format: Format) -> Result<Picture, Error> {
        picture(format, self.size, self.rgb)
    }
}

/// The orientation in the EXIF data; none if there is no data or it can't be read.
pub(crate) fn orientation(exif: Option<&[u8]>) -> Orientation {
    let stated = exif.and_then(Orientation::from_exif_chunk);
    stated.unwrap_or(Orientation::NoTransforms)
}

/// Bytes in use while a decoded picture of `decoded` bytes is turned into one of `picture` bytes; 0 if it is turned in
/// place.
pub(crate) fn memory(orientation: Orientation, decoded: u64, picture: u64) -> u64 {
    if transposes(orientation) {
        decoded + picture
    } else {
        0
    }
}

/// Whether width and height are exchanged, which can't be done in place.
fn transposes(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Turns the stored picture upright: in place, or in a copy if width and height are exchanged.
pub(crate) fn upright(
    format: Format,
    size: (u32, u32),
    mut rgb: Vec<u8>,
    orientation: Orientation,
) -> Result<Picture, Error> {
    let stride = 3 * size.0 as usize;
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    match orientation {
        Orientation::NoTransforms => {}
        Orientation::FlipHorizontal => pixels
            .chunks_exact_mut(size.0 as usize)
            .for_each(<[_]>::reverse),
        Orientation::Rotate180 => pixels.reverse(),
        Orientation::FlipVertical => {
            let (upper, lower) = rgb.split_at_mut(size.1 as usize / 2 * stride);
            let rows = upper.chunks_exact_mut(stride);
            rows.zip(lower.rchunks_exact_mut(stride))
                .for_each(|(a, b)| a.swap_with_slice(b));
        }
        _ => {
            let mut canvas = Canvas::new(size, orientation);
            for (y, row) in pixels.chunks_exact(size.0 as usize).enumerate() {
                canvas.put(y, 0, 1, row.iter().copied());
            }
            return canvas.finish(format);
        }
    }
    picture(format, size, rgb)
}

fn picture(format: Format, (width, height): (u32, u32), rgb: Vec<u8>) -> Result<Picture, Error> {
    Picture::from_rgb(width, height, rgb)
        .ok_or_else(|| Error::corrupt(format, format!("{width}×{height} pixels")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, RgbImage};

    /// Each orientation, in place and by a canvas, compared with the image crate's.
    #[test]
    fn turned_as_exif_says() {
        let (width, height) = (5, 3);
        let rgb: Vec<u8> = (0..3 * width * height).map(|v| v as u8).collect();
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            let whole = RgbImage::from_raw(width, height, rgb.clone()).unwrap();
            let mut expected = DynamicImage::ImageRgb8(whole);
            expected.apply_orientation(orientation);
            let size = (expected.width(), expected.height());
            let expected =
                Picture::from_rgb(size.0, size.1, expected.into_rgb8().into_raw()).unwrap();

            let turned = upright(Format::Jpeg, (width, height), rgb.clone(), orientation).unwrap();
            assert!(turned == expected, "{orientation:?}");

            let mut canvas = Canvas::new((width, height), orientation);
            for (y, row) in rgb.chunks(3 * width as usize).enumerate() {
                if let Some(to) = canvas.row(y) {
                    to.copy_from_slice(row);
                } else {
                    let (even, odd) = (row.chunks(3).step_by(2), row.chunks(3).skip(1).step_by(2));
                    let pixel = |p: &[u8]| [p[0], p[1], p[2]];
                    canvas.put(y, 0, 2, even.map(pixel));
                    canvas.put(y, 1, 2, odd.map(pixel));
                }
            }
            assert!(
                canvas.finish(Format::Png).unwrap() == expected,
                "{orientation:?}"
            );
        }
    }
}
