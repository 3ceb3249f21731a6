//! Baseline files whose chroma has half the resolution in both directions (4:2:0: most photographs), decoded so that
//! the
//! stored chroma is available.
//!
//! The decoder upsamples chroma itself and rounds up, on average by a quarter, which after resizing is a large part of
//! the
//! tolerance. That can't be turned off, but where the ratio is 4:1 it repeats samples. A unit of
//! 4:2:0 is four blocks of luma, two by two, and one of each colour; a unit of 4:1:1 has the same blocks in the same
//! order, the four of luma side by side. So the frame header is rewritten to 4:1:1, with as many units across and down,
//! and the blocks are put in their places afterwards. The coded data stays as it is.
//!
//! The rewritten file has a header of its own, and is decoded only if the decoder reads from it what was written.

use super::{chroma, decoder, frame::Frame};
use crate::Error;
use zune_core::colorspace::ColorSpace;

/// Pixels of a unit each way, as it was and as it is declared.
const UNIT: usize = 16;
const WIDE: usize = 32;
const FLAT: usize = 8;

/// A frame of 4:2:0, and itself as 4:1:1.
pub(crate) struct Rearranged<'a> {
    frame: &'a Frame,
    declared: Frame,
    /// Where the frame's components lie in the file.
    components: usize,
}

impl<'a> Rearranged<'a> {
    /// None for any other kind of frame, and for one too small for libjpeg to smooth its colour.
    pub fn plan(frame: &'a Frame) -> Option<Self> {
        let (width, height) = frame.size;
        let halved =
            frame.sampling == [(2, 2), (1, 1), (1, 1)] && frame.colour == ColorSpace::YCbCr;
        // Progressive files code luma by itself in some scans, in the order of rows of blocks.
        if !halved
            || frame.progressive
            || !frame.interleaved
            || (width as usize) < 2 * chroma::LEAST
        {
            return None;
        }
        let across = (width as usize).div_ceil(UNIT) * WIDE;
        let down = (height as usize).div_ceil(UNIT) * FLAT;
        let declared = Frame {
            size: (
                u16::try_from(across).ok()?.into(),
                u16::try_from(down).ok()?.into(),
            ),
            sampling: vec![(4, 1), (1, 1), (1, 1)],
            ..frame.clone()
        };
        Some(Self {
            frame,
            declared,
            components: frame.components?,
        })
    }

    /// While the rewritten file is decoded there are it and its pixels, which become the picture's in place; after it,
    /// the pixels, the stored colours and a row of units.
    pub fn memory(&self, file: usize) -> u64 {
        let (width, height) = self.declared.size;
        let pixels = 3 * u64::from(width) * u64::from(height);
        let colours = u64::from(self.frame.size.0 + 1) * u64::from(self.frame.size.1 + 1) / 2;
        let rows = 32 * u64::from(width);
        pixels + (file as u64 + self.declared.working_memory()).max(colours + rows)
    }

    /// The pixels as RGB. None where the decoder does not take the rewritten file for what it should be.
    pub fn decode(&self, bytes: &[u8]) -> Option<Result<Vec<u8>, Error>> {
        let mut file = bytes.to_vec();
        let (width, height) = self.declared.size;
        // Before the components: two bytes of height, two of width, the number of components.
        let at = self.components.checked_sub(5)?;
        file[at..at + 2].copy_from_slice(&(height as u16).to_be_bytes());
        file[at + 2..at + 4].copy_from_slice(&(width as u16).to_be_bytes());
        file[at + 6] = 0x41;
        let (mut decoder, trace) = decoder::open(&file, ColorSpace::YCbCr);
        decoder.decode_headers().ok()?;
        if Frame::of(&file, &decoder, &trace)? != self.declared {
            return None;
        }
        let mut pixels = vec![0; 3 * width as usize * height as usize];
        let decoded = decoder.decode_into(&mut pixels);
        drop(decoder);
        drop(file);
        Some(match decoded {
            Ok(()) => Ok(self.arrange(pixels)),
            Err(error) => Err(decoder::sort(bytes, error)),
        })
    }

    /// The declared frame's pixels to the picture's, in place: a row of units takes no more room than it did.
    fn arrange(&self, mut pixels: Vec<u8>) -> Vec<u8> {
        let (width, height) = (self.frame.size.0 as usize, self.frame.size.1 as usize);
        let stride = self.declared.size.0 as usize;
        let columns = width.div_ceil(2);
        let colours = {
            let (ycc, _) = pixels.as_chunks::<3>();
            let stored = |channel| colour(ycc, stride, columns, height.div_ceil(2), channel);
            chroma::Halved::new(columns, stored(1), stored(2))
        };
        let mut luma = vec![0; stride / WIDE * UNIT * UNIT];
        let mut smooth = chroma::Smoothed::new(columns);
        for unit in 0..height.div_ceil(UNIT) {
            let (ycc, _) = pixels[3 * unit * FLAT * stride..][..3 * FLAT * stride].as_chunks::<3>();
            take_luma(ycc, stride, &mut luma);
            let rows = unit * UNIT..height.min((unit + 1) * UNIT);
            for (row, luma) in rows.zip(luma.chunks_exact(stride / WIDE * UNIT)) {
                colours.smooth(row, &mut smooth);
                chroma::to_rgb(luma, &smooth, &mut pixels[3 * row * width..][..3 * width]);
            }
        }
        pixels.truncate(3 * width * height);
        pixels
    }
}

/// A colour as stored: the declared frame repeats each sample four times.
fn colour(ycc: &[[u8; 3]], stride: usize, columns: usize, rows: usize, channel: usize) -> Vec<u8> {
    let mut plane = vec![0; columns * rows];
    for (row, out) in ycc
        .chunks_exact(stride)
        .zip(plane.chunks_exact_mut(columns))
    {
        let (repeated, _) = row.as_chunks::<4>();
        out.iter_mut()
            .zip(repeated)
            .for_each(|(to, [pixel, ..])| *to = pixel[channel]);
    }
    plane
}

/// Luma of a row of units, in the picture's order: of the blocks side by side the upper pair comes before the lower.
fn take_luma(ycc: &[[u8; 3]], stride: usize, luma: &mut [u8]) {
    for (row, to) in luma.chunks_exact_mut(stride / WIDE * UNIT).enumerate() {
        let pair = row / FLAT * UNIT;
        let flat = &ycc[row % FLAT * stride..][..stride];
        for (to, wide) in to.chunks_exact_mut(UNIT).zip(flat.chunks_exact(WIDE)) {
            to.iter_mut()
                .zip(&wide[pair..pair + UNIT])
                .for_each(|(to, [y, ..])| *to = *y);
        }
    }
}
