//! Malicious pictures, generated: those that once stopped the pipeline, decompression bombs, and any number of
//! damaged ones.
//!
//! They have the same bytes on every machine and in every version, so that a failure can be repeated by its seed and
//! number.

mod bits;
mod bombs;
mod flat;
mod known;
mod mutations;
mod parts;
mod random;

pub use bombs::bombs;
pub use flat::{Jpeg, Png, flat_bmp, flat_jpeg, flat_png, flat_webp_lossless, flat_webp_lossy};
pub use known::{
    endless_exif_webp, huffman_bomb_webp, inflating_profile_png, inflating_text_png, tem_huge_jpeg,
};
pub use mutations::mutations;

/// A chunk of a RIFF file.
fn riff_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend((body.len() as u32).to_le_bytes());
    chunk.extend(body);
    chunk.resize(chunk.len() + body.len() % 2, 0);
    chunk
}

/// A WebP of these chunks.
fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    riff_chunk(b"RIFF", &[b"WEBP", &chunks.concat()[..]].concat())
}

/// A chunk of a PNG.
fn png_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(body);
    let length = (body.len() as u32).to_be_bytes();
    [&length[..], name, body, &crc.sum().to_be_bytes()].concat()
}

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The body of a PNG's header.
fn ihdr(width: u32, height: u32, depth: u8, color: u8, interlaced: bool) -> Vec<u8> {
    let kind = [depth, color, 0, 0, interlaced.into()];
    [&width.to_be_bytes()[..], &height.to_be_bytes(), &kind].concat()
}

/// `count` zeros, compressed by zlib to about a thousandth.
fn packed_zeros(count: u64) -> Vec<u8> {
    use std::io::{Read as _, copy, repeat};
    let level = flate2::Compression::new(6);
    let mut packed = Vec::new();
    let mut packer = flate2::read::ZlibEncoder::new(repeat(0).take(count), level);
    copy(&mut packer, &mut packed).expect("memory takes every byte");
    packed
}
