//! Pictures that stopped the pipeline once, each by name.

use super::{
    PNG_SIGNATURE, bits::Bits, flat_webp_lossless, ihdr, packed_zeros, png_chunk, riff, riff_chunk,
};

/// A JPEG with a frame header of 32,752 × 65,535 inside a segment after 0xff01, where a reader that takes 0xff01 for a
/// marker without a segment finds it, and one that skips the segment does not. `base` is any 4:2:0 JPEG.
pub fn tem_huge_jpeg(base: &[u8]) -> Vec<u8> {
    let frame = [
        0xff, 0xc0, 0, 17, 8, 0xff, 0xff, 0x7f, 0xf0, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1,
    ];
    let length = (2 + frame.len() as u16).to_be_bytes();
    let (start, rest) = base.split_at(2);
    [start, &[0xff, 0x01], &length, &frame, rest].concat()
}

/// A lossless WebP of one pixel that declares so many groups of Huffman codes, 1 to 65,536: each with four tables of
/// two codes and one of 2,048.
pub fn huffman_bomb_webp(groups: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    // One pixel; no transform; a cache of 2^11 colours; groups by an image of 1 × 1, itself without a cache.
    bits.extend(&[
        (0x2f, 8),
        (0, 28),
        (0, 1),
        (0, 3),
        (0, 1),
        (1, 1),
        (11, 4),
        (1, 1),
        (0, 3),
        (0, 1),
    ]);
    let last = groups.clamp(1, 65_536) - 1;
    // That image's codes of one symbol each: the pixel is the number of the last group.
    for symbol in [last & 255, last >> 8] {
        bits.extend(&[(1, 1), (0, 1), (1, 1), (symbol, 8)]);
    }
    for _ in 0..3 {
        bits.extend(&[(1, 1), (0, 1), (0, 1), (0, 1)]);
    }
    for _ in 0..=last {
        // A code of 2,048 symbols, all of 11 bits.
        bits.extend(&[(0, 1), (11, 4)]);
        for symbol in [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11] {
            bits.put((symbol == 11).into(), 3);
        }
        bits.extend(&[(1, 1), (5, 3), (2046, 12)]);
        for _ in 0..4 {
            bits.extend(&[(1, 1), (0, 1), (0, 1), (0, 1)]);
        }
    }
    bits.extend(&[(0, 32), (0, 32)]);
    riff(&[riff_chunk(b"VP8L", &bits.into_bytes())])
}

/// A WebP of one pixel whose EXIF chunk says that it has 4 GiB.
pub fn endless_exif_webp() -> Vec<u8> {
    let picture = flat_webp_lossless(1, 1, false);
    let header = riff_chunk(b"VP8X", &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let exif = [b"EXIF", &0xffff_fff0u32.to_le_bytes()[..], b"II*\0"].concat();
    riff(&[header, picture[12..].to_vec(), exif])
}

/// A PNG of one pixel whose colour profile inflates to so many MiB.
pub fn inflating_profile_png(mebibytes: u64) -> Vec<u8> {
    let profile = [&b"x\0\0"[..], &packed_zeros(mebibytes << 20)].concat();
    one_pixel_with(&png_chunk(b"iCCP", &profile))
}

/// The same with a compressed text.
pub fn inflating_text_png(mebibytes: u64) -> Vec<u8> {
    let text = [&b"Comment\0\0"[..], &packed_zeros(mebibytes << 20)].concat();
    one_pixel_with(&png_chunk(b"zTXt", &text))
}

fn one_pixel_with(chunk: &[u8]) -> Vec<u8> {
    let parts = [
        PNG_SIGNATURE,
        &png_chunk(b"IHDR", &ihdr(1, 1, 8, 2, false)),
        chunk,
        &png_chunk(b"IDAT", &packed_zeros(4)),
        &png_chunk(b"IEND", b""),
    ];
    parts.concat()
}
