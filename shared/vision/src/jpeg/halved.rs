//! Baseline files whose colour is stored at half the resolution both ways (4:2:0: most photographs), decoded so that the
//! stored colour can be had.
//!
//! The decoder enlarges colour by itself and rounds up on the way, on average by a quarter, which after resizing is a
//! visible share of the tolerance. It can't be told not to, but it repeats samples where the ratio is 4:1. A unit of
//! 4:2:0 is four blocks of luma, two by two, and one of each colour; a unit of 4:1:1 has the same blocks in the same
//! order, the four of luma side by side. So the frame header is rewritten to 4:1:1, with as many units across and down,
//! and the blocks are put in their places afterwards. The coded data stays as it is.

use super::{chroma, markers, pixels};
use crate::Error;
use zune_core::colorspace::ColorSpace;

/// Pixels of a unit each way, as it was and as it is declared.
const UNIT: usize = 16;
const WIDE: usize = 32;
const FLAT: usize = 8;

/// A file as 4:1:1, and the size it has as 4:2:0.
pub(crate) struct Rearranged {
    file: Vec<u8>,
    width: usize,
    height: usize,
}

impl Rearranged {
    /// None for any other kind of file, and for one too small for libjpeg to smooth its colour.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let frame = markers::markers(bytes)
            .find(|marker| matches!(marker.code, 0xc0..=0xcf) && !is_table(marker.code))?;
        let scan = markers::markers(bytes).find(|marker| marker.code == 0xda)?;
        let header: &[u8; 15] = bytes.get(frame.start..frame.end)?.try_into().ok()?;
        let &[8, h0, h1, w0, w1, 3, _, 0x22, _, _, 0x11, _, _, 0x11, _] = header else {
            return None;
        };
        let together = bytes.get(scan.start) == Some(&3);
        let (width, height) = (
            usize::from(u16::from_be_bytes([w0, w1])),
            usize::from(u16::from_be_bytes([h0, h1])),
        );
        let (across, down) = (width.div_ceil(UNIT), height.div_ceil(UNIT));
        let declared = u16::try_from(across * WIDE).ok()?;
        // Progressive files code luma by itself in some scans, in the order of rows of blocks.
        let huffman_baseline = matches!(frame.code, 0xc0 | 0xc1);
        if !huffman_baseline || !together || width < 2 * chroma::LEAST || height == 0 {
            return None;
        }
        let mut file = bytes.to_vec();
        file[frame.start + 1..frame.start + 3]
            .copy_from_slice(&((down * FLAT) as u16).to_be_bytes());
        file[frame.start + 3..frame.start + 5].copy_from_slice(&declared.to_be_bytes());
        file[frame.start + 7] = 0x41;
        Some(Self {
            file,
            width,
            height,
        })
    }

    /// The pixels as RGB.
    pub fn decode(&self) -> Result<Vec<u8>, Error> {
        let stride = self.width.div_ceil(UNIT) * WIDE;
        let size = (stride as u32, (self.height.div_ceil(UNIT) * FLAT) as u32);
        let ycc = pixels(&self.file, size, ColorSpace::YCbCr)?;
        let (ycc, _) = ycc.as_chunks::<3>();
        let declared_row = |row: usize| &ycc[row * stride..(row + 1) * stride];
        let (columns, rows) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let stored = |channel: usize| {
            let mut plane = vec![0; columns * rows];
            for (row, out) in plane.chunks_exact_mut(columns).enumerate() {
                let (repeated, _) = declared_row(row).as_chunks::<4>();
                out.iter_mut()
                    .zip(repeated)
                    .for_each(|(to, [pixel, ..])| *to = pixel[channel]);
            }
            plane
        };
        let colours = chroma::Halved::new(columns, stored(1), stored(2));
        let mut rgb = vec![0; 3 * self.width * self.height];
        let mut luma = vec![0; stride / WIDE * UNIT];
        let mut smooth = chroma::Smoothed::new(columns);
        for (row, out) in rgb.chunks_exact_mut(3 * self.width).enumerate() {
            // Within the flat units, the upper pair of blocks comes before the lower.
            let (unit, within) = (row / UNIT, row % UNIT);
            let pair = within / FLAT * UNIT;
            let flat = declared_row(unit * FLAT + within % FLAT);
            for (to, wide) in luma.chunks_exact_mut(UNIT).zip(flat.chunks_exact(WIDE)) {
                to.iter_mut()
                    .zip(&wide[pair..pair + UNIT])
                    .for_each(|(to, [y, ..])| *to = *y);
            }
            colours.smooth(row, &mut smooth);
            chroma::to_rgb(&luma, &smooth, out);
        }
        Ok(rgb)
    }
}

/// Codes between those of the frame headers that are none: DHT, JPG, DAC.
fn is_table(code: u8) -> bool {
    matches!(code, 0xc4 | 0xc8 | 0xcc)
}
