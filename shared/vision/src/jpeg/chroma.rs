//! Chroma of half the resolution, upsampled and converted to RGB with libjpeg's arithmetic.
//!
//! Sources: `h2v2_fancy_upsample` in libjpeg's jdsample.c, a triangle filter; `ycc_rgb_convert` in jdcolor.c, in the
//! form that libjpeg-turbo's SIMD code gives it, which has the same results and fits 16 bits.

/// With fewer columns of chroma, libjpeg repeats samples instead of interpolating.
pub(crate) const LEAST: usize = 3;

/// The two chroma channels as stored, row by row.
pub(crate) struct Halved {
    columns: usize,
    blue: Vec<u8>,
    red: Vec<u8>,
}

/// One row of chroma at full resolution.
pub(crate) struct Smoothed {
    blue: Vec<u8>,
    red: Vec<u8>,
    /// Space for the sums of two rows.
    sums: Vec<u16>,
}

impl Smoothed {
    pub fn new(columns: usize) -> Self {
        Self {
            blue: vec![0; 2 * columns],
            red: vec![0; 2 * columns],
            sums: vec![0; columns],
        }
    }
}

impl Halved {
    /// Both channels have the same number of rows of so many columns.
    pub fn new(columns: usize, blue: Vec<u8>, red: Vec<u8>) -> Self {
        Self { columns, blue, red }
    }

    /// The chroma of a row of the picture: three parts of the nearer stored row and one of the farther.
    pub fn smooth(&self, row: usize, to: &mut Smoothed) {
        let last = self.blue.len() / self.columns - 1;
        let near = row / 2;
        let far = if row.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            (near + 1).min(last)
        };
        let of = |channel: &'_ [u8], row: usize| {
            row * self.columns..(row + 1) * self.columns.min(channel.len())
        };
        let Smoothed { blue, red, sums } = to;
        for (stored, full) in [(&self.blue, blue), (&self.red, red)] {
            let (near, far) = (&stored[of(stored, near)], &stored[of(stored, far)]);
            for ((sum, near), far) in sums.iter_mut().zip(near).zip(far) {
                *sum = 3 * u16::from(*near) + u16::from(*far);
            }
            widen(sums, full);
        }
    }
}

/// Twice as many columns, and 4-bit fractions rounded: up on even columns, down on odd ones, so that it evens out.
fn widen(sums: &[u16], full: &mut [u8]) {
    let (Some((first, _)), Some((last, _))) = (sums.split_first(), sums.split_last()) else {
        return;
    };
    let end = full.len() - 1;
    full[0] = ((4 * first + 8) >> 4) as u8;
    full[end] = ((4 * last + 7) >> 4) as u8;
    let (between, _) = full[1..end].as_chunks_mut::<2>();
    for ((out, left), right) in between.iter_mut().zip(sums).zip(&sums[1..]) {
        *out = [
            ((3 * left + right + 7) >> 4) as u8,
            ((3 * right + left + 8) >> 4) as u8,
        ];
    }
}

/// One row. `luma` and `colour` may be longer than `rgb`.
pub(crate) fn to_rgb(luma: &[u8], colour: &Smoothed, rgb: &mut [u8]) {
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    for (((pixel, y), blue), red) in pixels
        .iter_mut()
        .zip(luma)
        .zip(&colour.blue)
        .zip(&colour.red)
    {
        let (y, blue, red) = (i16::from(*y), i16::from(*blue) - 128, i16::from(*red) - 128);
        let byte = |value: i16| value.clamp(0, 255) as u8;
        let green =
            (i32::from(blue) * -FIX_0_34414 + i32::from(red) * FIX_0_28586 + (1 << 15)) >> 16;
        *pixel = [
            byte(y + red + half_up(high(2 * red, FIX_0_40200))),
            byte(y + green as i16 - red),
            byte(y + 2 * blue + half_up(high(2 * blue, -FIX_0_22800))),
        ];
    }
}

const FIX_0_34414: i32 = 22_554;
const FIX_0_28586: i32 = 18_734;
const FIX_0_40200: i16 = 26_345;
const FIX_0_22800: i16 = 14_942;

/// The upper half of the product.
fn high(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

fn half_up(doubled: i16) -> i16 {
    (doubled + 1) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of jdcolor.c, for every pair of colour samples.
    #[test]
    fn conversion_is_libjpeg_s() {
        let fix = |x: f64| (x * 65_536.0 + 0.5) as i32;
        let byte = |v: i32| v.clamp(0, 255) as u8;
        for red in 0..=255u8 {
            let blue: Vec<u8> = (0..=255).collect();
            let luma: Vec<u8> = blue.iter().map(|b| b.wrapping_mul(37)).collect();
            let colour = Smoothed {
                blue: blue.clone(),
                red: vec![red; 256],
                sums: Vec::new(),
            };
            let mut rgb = vec![0; 768];
            to_rgb(&luma, &colour, &mut rgb);
            let r = i32::from(red) - 128;
            for ((pixel, y), b) in rgb.chunks(3).zip(luma).zip(blue) {
                let (y, b) = (i32::from(y), i32::from(b) - 128);
                let half = 1 << 15;
                let expected = [
                    byte(y + ((fix(1.402) * r + half) >> 16)),
                    byte(y + ((-fix(0.34414) * b - fix(0.71414) * r + half) >> 16)),
                    byte(y + ((fix(1.772) * b + half) >> 16)),
                ];
                assert_eq!(pixel, expected, "y {y} cb {b} cr {r}");
            }
        }
    }

    #[test]
    fn rounding_evens_out() {
        let mut full = [0; 6];
        widen(&[4 * 10, 4 * 12, 4 * 13], &mut full);
        // 10, 10.5, 11.5, 12.25, 12.75, 13
        assert_eq!(full, [10, 10, 12, 12, 13, 13]);
    }
}
