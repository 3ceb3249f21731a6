//! The header of a frame as the decoder has read it, and the memory that decoding takes.

use super::source::{Source, Trace};
use zune_core::colorspace::ColorSpace;
use zune_jpeg::{JpegDecoder, SampleRatios};

/// Bytes of a coefficient.
const COEFFICIENT: u64 = 2;
/// Rows of a block, and columns.
const BLOCK: u64 = 8;

/// A frame, as the decoder that will decode it has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub size: (u32, u32),
    /// Across and down, of each component.
    pub sampling: Vec<(u8, u8)>,
    /// The position of the first component's entry in the file, if it is known.
    pub components: Option<usize>,
    pub progressive: bool,
    /// Whether the first scan holds all components.
    pub interleaved: bool,
    pub colour: ColorSpace,
}

impl Frame {
    /// The frame that the decoder has read; `None` if it has not read a header.
    pub fn of(bytes: &[u8], decoder: &JpegDecoder<Source>, trace: &Trace) -> Option<Self> {
        let info = decoder.info()?;
        let count = usize::from(info.components);
        let components = trace.components(count);
        let entries = components.and_then(|at| bytes.get(at..at + 3 * count));
        let sampling = match entries {
            Some(entries) => {
                let (entries, _) = entries.as_chunks::<3>();
                entries.iter().map(|[_, s, _]| (s >> 4, s & 15)).collect()
            }
            // The most that each can be.
            None => vec![largest(info.sample_ratio); count],
        };
        Some(Self {
            size: (info.width.into(), info.height.into()),
            sampling,
            components: entries.and(components),
            progressive: info.sof.is_progressive(),
            interleaved: scan_of(bytes, trace.end_of_header()) == Some(count),
            colour: decoder.input_colorspace()?,
        })
    }

    /// What the decoder allocates beside its output: zune-jpeg's `setup_component_params`, `setup_upsample_scanline`
    /// and the two `decode_mcu_ycbcr` functions.
    pub fn working_memory(&self) -> u64 {
        let most = |side: fn(&(u8, u8)) -> u8| {
            u64::from(self.sampling.iter().map(side).max().unwrap_or(1))
        };
        let (across, down) = (most(|s| s.0), most(|s| s.1));
        let units = |pixels: u32, sampling: u64| u64::from(pixels).div_ceil(BLOCK * sampling);
        let (units_across, units_down) = (units(self.size.0, across), units(self.size.1, down));
        let whole = self.progressive || !self.interleaved;
        let of = |&(h, v): &(u8, u8)| {
            let (h, v) = (u64::from(h), u64::from(v));
            let stride = h * units_across * BLOCK;
            let enlarged = (across / h.max(1)) * (down / v.max(1));
            // A row of units; two rows and one enlarged kept for the next; the enlarged row of units; what it is
            // resized to; space to enlarge in.
            let rows =
                BLOCK * v + 2 * v + v * enlarged + 2 * BLOCK * enlarged + 2 * BLOCK * v + BLOCK;
            let coefficients = if whole {
                stride * v * units_down * BLOCK
            } else {
                0
            };
            COEFFICIENT * (stride * rows + coefficients)
        };
        self.sampling.iter().map(of).sum()
    }
}

fn largest(ratio: SampleRatios) -> (u8, u8) {
    match ratio {
        SampleRatios::None => (1, 1),
        SampleRatios::H => (2, 1),
        SampleRatios::V => (1, 2),
        SampleRatios::HV => (2, 2),
        SampleRatios::Generic(h, v) => (h as u8, v as u8),
    }
}

/// Components of the scan whose header ends there: T.81, B.2.3. None where more than one number is possible.
fn scan_of(bytes: &[u8], end: usize) -> Option<usize> {
    let fits = |count: &usize| {
        let header = end
            .checked_sub(6 + 2 * count)
            .and_then(|start| bytes.get(start..end));
        header.is_some_and(|header| {
            header[..2] == (6 + 2 * *count as u16).to_be_bytes() && header[2] == *count as u8
        })
    };
    let mut counts = (1..=4).filter(fits);
    counts.next().filter(|_| counts.next().is_none())
}
