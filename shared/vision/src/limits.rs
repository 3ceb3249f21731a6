//! Limits on the size of a picture.

use crate::{Error, Format, error::Limit};
use serde::{Deserialize, Serialize};

/// The largest size that a picture's header may declare. The memory that decoding takes is not limited here: the caller
/// checks [`Encoded::memory`](crate::Encoded::memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest product of width and height.
    pub max_pixels: u64,
    /// Largest width and largest height, in pixels.
    pub max_side: u32,
    /// Largest quotient of the longer side and the shorter.
    pub max_ratio: u32,
}

/// 100 megapixels, 32,768 pixels a side, 64 to 1.
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
            max_side: 32_768,
            max_ratio: 64,
        }
    }
}

impl Limits {
    /// Checks the size that a decoder has read and will allocate memory for.
    pub(crate) fn check(&self, format: Format, (width, height): (u32, u32)) -> Result<(), Error> {
        let (short, long) = (width.min(height), width.max(height));
        if short == 0 {
            return Err(Error::corrupt(format, format!("{width}×{height} pixels")));
        }
        let limit = if long > self.max_side {
            Limit::Side(self.max_side)
        } else if u64::from(width) * u64::from(height) > self.max_pixels {
            Limit::Pixels(self.max_pixels)
        } else if u64::from(long) > u64::from(short) * u64::from(self.max_ratio) {
            Limit::Ratio(self.max_ratio)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(size: (u32, u32)) -> Option<Limit> {
        match Limits::default().check(Format::Png, size) {
            Err(Error::TooManyPixels { limit, .. }) => Some(limit),
            Err(error) => panic!("{error}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn a_picture_at_a_limit_is_within_it() {
        assert_eq!(limit((10_000, 10_000)), None);
        assert_eq!(limit((10_001, 10_000)), Some(Limit::Pixels(100_000_000)));
        assert_eq!(limit((512, 32_768)), None);
        assert_eq!(limit((600, 32_769)), Some(Limit::Side(32_768)));
        assert_eq!(limit((64, 1)), None);
        assert_eq!(limit((1, 65)), Some(Limit::Ratio(64)));
        assert_eq!(limit((u32::MAX, u32::MAX)), Some(Limit::Side(32_768)));
    }

    #[test]
    fn a_picture_without_pixels_is_damaged() {
        for size in [(0, 1), (1, 0), (0, 0)] {
            let outcome = Limits::default().check(Format::Bmp, size);
            assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{size:?}");
        }
    }

    #[test]
    fn an_error_names_the_limit() {
        let text = |size| {
            let refused = Limits::default().check(Format::Png, size);
            refused.unwrap_err().to_string()
        };
        assert_eq!(
            text((1, 65)),
            "1×65 is more than the limit of 64 to 1 between the sides"
        );
        assert_eq!(
            text((40_000, 2)),
            "40000×2 is more than the limit of 32768 pixels a side"
        );
    }
}
