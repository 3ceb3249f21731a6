//! A decoded picture.

use std::fmt;

/// An upright picture: 8 bits each for red, green and blue, row by row without padding. Neither side is 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture of these bytes. `None` if a side is 0 or there are not exactly three bytes for each pixel.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let whole =
            width > 0 && height > 0 && rgb.len() as u64 == 3 * u64::from(width) * u64::from(height);
        whole.then_some(Self { width, height, rgb })
    }

    /// Pixels of a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of each pixel, row by row: `3 * width * height` bytes.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}
