//! Pixels.

use std::fmt;

/// A picture, upright, 8 bits for each of red, green and blue, row by row without padding. Neither side is 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// None where a side is 0 or there are not exactly three bytes for each pixel.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let whole =
            width > 0 && height > 0 && rgb.len() as u64 == 3 * u64::from(width) * u64::from(height);
        whole.then_some(Self { width, height, rgb })
    }

    pub fn width(&self) -> u32 {
        self.width
    }

    pub fn height(&self) -> u32 {
        self.height
    }

    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}
