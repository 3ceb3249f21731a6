//! Valid pictures of one colour and any size: small files of every kind that decoders allocate memory for.

use super::{PNG_SIGNATURE, bits::Bits, ihdr, packed_zeros, png_chunk, riff, riff_chunk};

/// A JPEG of one grey.
#[derive(Debug, Clone, Copy)]
pub struct Jpeg<'a> {
    pub width: u16,
    pub height: u16,
    /// Across and down, of each component.
    pub sampling: &'a [(u8, u8)],
    pub progressive: bool,
    /// Whether one scan holds all components.
    pub interleaved: bool,
}

/// Codes of one bit: for DC "no difference", for AC "end of block". So coded data is zeros.
pub fn flat_jpeg(jpeg: &Jpeg) -> Vec<u8> {
    let count = jpeg.sampling.len() as u8;
    let mut file = vec![0xff, 0xd8];
    let mut segment = |code: u8, body: &[u8]| {
        file.extend([0xff, code]);
        file.extend((body.len() as u16 + 2).to_be_bytes());
        file.extend(body);
    };
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    let mut frame = vec![8];
    frame.extend(jpeg.height.to_be_bytes());
    frame.extend(jpeg.width.to_be_bytes());
    frame.push(count);
    for (id, (across, down)) in (1..).zip(jpeg.sampling) {
        frame.extend([id, across << 4 | down, 0]);
    }
    segment(if jpeg.progressive { 0xc2 } else { 0xc0 }, &frame);
    for class in [0x00, 0x10] {
        let one_code_of_one_bit = [&[class, 1][..], &[0; 15], &[0]].concat();
        segment(0xc4, &one_code_of_one_bit);
    }
    let components: Vec<u8> = (1..=count).collect();
    let scans: Vec<&[u8]> = if jpeg.interleaved {
        vec![&components]
    } else {
        components.chunks(1).collect()
    };
    for scan in scans {
        let last = if jpeg.progressive { 0 } else { 63 };
        let bits = if jpeg.progressive { 1 } else { 2 };
        scan_of(&mut file, scan, (0, last), jpeg.blocks(scan) * bits);
    }
    if jpeg.progressive {
        for component in components.chunks(1) {
            scan_of(&mut file, component, (1, 63), jpeg.blocks(component));
        }
    }
    file.extend([0xff, 0xd9]);
    file
}

impl Jpeg<'_> {
    /// Coded blocks of a scan of these components.
    fn blocks(&self, scan: &[u8]) -> u64 {
        let most = |side: fn(&(u8, u8)) -> u8| self.sampling.iter().map(side).max().unwrap_or(1);
        let (across, down) = (u64::from(most(|s| s.0)), u64::from(most(|s| s.1)));
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let of = |&(h, v): &(u8, u8)| {
            let (h, v) = (u64::from(h), u64::from(v));
            if scan.len() == 1 {
                (width * h).div_ceil(8 * across) * (height * v).div_ceil(8 * down)
            } else {
                h * v * width.div_ceil(8 * across) * height.div_ceil(8 * down)
            }
        };
        scan.iter()
            .map(|id| of(&self.sampling[usize::from(*id) - 1]))
            .sum()
    }
}

fn scan_of(file: &mut Vec<u8>, components: &[u8], (first, last): (u8, u8), bits: u64) {
    file.extend([
        0xff,
        0xda,
        0,
        6 + 2 * components.len() as u8,
        components.len() as u8,
    ]);
    components.iter().for_each(|id| file.extend([*id, 0]));
    file.extend([first, last, 0]);
    file.resize(file.len() + bits.div_ceil(8) as usize, 0);
}

/// A black PNG; `color` and `depth` as its header has them.
#[derive(Debug, Clone, Copy)]
pub struct Png {
    pub width: u32,
    pub height: u32,
    pub depth: u8,
    pub color: u8,
    pub interlaced: bool,
}

/// A black PNG: its rows are zeros, filter types included.
pub fn flat_png(png: &Png) -> Vec<u8> {
    const ADAM7: [(u32, u32, u32, u32); 7] = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    let samples: u64 = match png.color {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    let size = |x: u32, y: u32, across: u32, down: u32| {
        let columns = u64::from(png.width.saturating_sub(x).div_ceil(across));
        let rows = u64::from(png.height.saturating_sub(y).div_ceil(down));
        let row = 1 + (columns * samples * u64::from(png.depth)).div_ceil(8);
        if columns == 0 { 0 } else { row * rows }
    };
    let bytes = if png.interlaced {
        ADAM7
            .iter()
            .map(|&(x, y, across, down)| size(x, y, across, down))
            .sum()
    } else {
        size(0, 0, 1, 1)
    };
    let header = ihdr(png.width, png.height, png.depth, png.color, png.interlaced);
    let palette = if png.color == 3 {
        png_chunk(b"PLTE", &[0; 6])
    } else {
        Vec::new()
    };
    let parts = [
        PNG_SIGNATURE,
        &png_chunk(b"IHDR", &header),
        &palette,
        &png_chunk(b"IDAT", &packed_zeros(bytes)),
        &png_chunk(b"IEND", b""),
    ];
    parts.concat()
}

/// A black BMP of 8, 24 or 32 bits a pixel: nothing in it is packed.
pub fn flat_bmp(width: u32, height: u32, bits: u16) -> Vec<u8> {
    let palette = if bits == 8 { 256 * 4 } else { 0 };
    let row = (u64::from(width) * u64::from(bits)).div_ceil(32) * 4;
    let start = 54 + palette;
    let size = start + row * u64::from(height);
    let mut file = b"BM".to_vec();
    file.extend((size as u32).to_le_bytes());
    file.extend([0; 4]);
    file.extend((start as u32).to_le_bytes());
    file.extend(40u32.to_le_bytes());
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.resize(size as usize, 0);
    file
}

/// A black lossless WebP of at most 16,384 a side. It has what encoders use for photographs: predictors and a colour
/// transform for each 4 × 4 pixels, and groups of Huffman codes by an image of that size.
pub fn flat_webp_lossless(width: u32, height: u32, alpha: bool) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.extend(&[
        (0x2f, 8),
        (width - 1, 14),
        (height - 1, 14),
        (alpha.into(), 1),
        (0, 3),
    ]);
    // Five codes of one symbol, 0, which take no bits in the data.
    let codes = [(1, 1), (0, 1), (0, 1), (0, 1)].repeat(5);
    for transform in [0, 1] {
        bits.extend(&[(1, 1), (transform, 2), (0, 3), (0, 1)]);
        bits.extend(&codes);
    }
    // No more transforms, no cache, one group of codes by an image.
    bits.extend(&[(0, 1), (0, 1), (1, 1), (0, 3), (0, 1)]);
    bits.extend(&codes);
    bits.extend(&codes);
    bits.extend(&[(0, 32), (0, 32)]);
    riff(&[riff_chunk(b"VP8L", &bits.into_bytes())])
}

/// A lossy WebP of at most 16,383 a side: its coded data is zeros, which decode as the more probable of everything.
pub fn flat_webp_lossy(width: u16, height: u16) -> Vec<u8> {
    let blocks = usize::from(width).div_ceil(16) * usize::from(height).div_ceil(16);
    // Of each block of 16 × 16 the first partition has its modes, the second its coefficients.
    let first = (64 + 8 * blocks).min((1 << 19) - 1);
    let mut data = ((first as u32) << 5 | 1 << 4).to_le_bytes()[..3].to_vec();
    data.extend([0x9d, 0x01, 0x2a]);
    data.extend(width.to_le_bytes());
    data.extend(height.to_le_bytes());
    data.resize(data.len() + first + 64 + 16 * blocks, 0);
    riff(&[riff_chunk(b"VP8 ", &data)])
}
