//! Decompression bombs: small files that declare large pictures.

use super::{
    Jpeg, PNG_SIGNATURE, Png, flat_bmp, flat_jpeg, flat_png, flat_webp_lossless, flat_webp_lossy,
    ihdr, packed_zeros, png_chunk, riff, riff_chunk,
};

/// A bomb of each kind, and its name.
pub fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let halved: &[(u8, u8)] = &[(2, 2), (1, 1), (1, 1)];
    let whole: &[(u8, u8)] = &[(1, 1); 4];
    let cut = |mut file: Vec<u8>, length: usize| {
        file.truncate(length);
        file
    };
    let jpeg = |width, height, sampling, progressive, interleaved| {
        let jpeg = Jpeg {
            width,
            height,
            sampling,
            progressive,
            interleaved,
        };
        // A frame this large in a few hundred bytes.
        [cut(flat_jpeg(&jpeg), 400), vec![0xff, 0xd9]].concat()
    };
    vec![
        (
            "a JPEG of 65,500 × 65,500",
            jpeg(65_500, 65_500, halved, false, true),
        ),
        (
            "a JPEG of 10,000 × 10,000 without its data",
            jpeg(10_000, 10_000, halved, false, true),
        ),
        (
            "a progressive JPEG of 10,000 × 10,000",
            jpeg(10_000, 10_000, whole, true, true),
        ),
        (
            "a JPEG of 10,000 × 10,000, a scan for each component",
            jpeg(10_000, 10_000, whole, false, false),
        ),
        (
            "a PNG of 33,000 × 33,000 that is true",
            black_rows(33_000, 33_000),
        ),
        (
            "a PNG of 10,000 × 10,000 in 40 kB",
            flat_png(&Png {
                width: 10_000,
                height: 10_000,
                depth: 1,
                color: 0,
                interlaced: true,
            }),
        ),
        ("a PNG of 2³¹ - 1 a side", png_of(0x7fff_ffff, 0x7fff_ffff)),
        ("a PNG of one row of 100 million", png_of(100_000_000, 1)),
        (
            "a PNG whose data goes on after its rows",
            more_than_its_rows(),
        ),
        ("a BMP of 65,000 × 65,000", bmp_of(65_000, 65_000)),
        (
            "a BMP of 10,000 × 10,000 without its data",
            bmp_of(10_000, 10_000),
        ),
        ("a BMP of negative width", bmp_of(-5, 5)),
        (
            "a lossless WebP of 16,384 × 16,384",
            flat_webp_lossless(16_384, 16_384, true),
        ),
        (
            "a lossy WebP of 16,383 × 16,383",
            cut(flat_webp_lossy(16_383, 16_383), 2_000),
        ),
        (
            "a WebP of one pixel with a frame of 16,383 × 16,383",
            frame_larger_than_its_canvas(),
        ),
        ("a WebP of 2²⁴ × 2²⁴", canvas_without_end()),
        ("a WebP whose partition says 16 MiB", lying_partition()),
    ]
}

fn png_of(width: u32, height: u32) -> Vec<u8> {
    let header = png_chunk(b"IHDR", &ihdr(width, height, 8, 6, false));
    let data = png_chunk(b"IDAT", &packed_zeros(1 << 20));
    [PNG_SIGNATURE, &header, &data, &png_chunk(b"IEND", b"")].concat()
}

/// A bit a pixel, so that all of its rows are there.
fn black_rows(width: u32, height: u32) -> Vec<u8> {
    flat_png(&Png {
        width,
        height,
        depth: 1,
        color: 0,
        interlaced: false,
    })
}

fn more_than_its_rows() -> Vec<u8> {
    let header = png_chunk(b"IHDR", &ihdr(2, 2, 8, 0, false));
    let data = png_chunk(b"IDAT", &packed_zeros(64 << 20));
    [PNG_SIGNATURE, &header, &data, &png_chunk(b"IEND", b"")].concat()
}

fn bmp_of(width: i32, height: i32) -> Vec<u8> {
    let mut file = flat_bmp(1, 1, 24);
    file[18..22].copy_from_slice(&width.to_le_bytes());
    file[22..26].copy_from_slice(&height.to_le_bytes());
    file
}

fn frame_larger_than_its_canvas() -> Vec<u8> {
    let mut frame = flat_webp_lossy(16_383, 16_383);
    frame.truncate(2_000);
    let header = riff_chunk(b"VP8X", &[0; 10]);
    riff(&[header, frame[12..].to_vec()])
}

fn canvas_without_end() -> Vec<u8> {
    let header = riff_chunk(b"VP8X", &[0, 0, 0, 0, 0xff, 0xff, 0, 0xfe, 0xff, 0]);
    let animation = riff_chunk(b"ANIM", &[0; 6]);
    riff(&[
        header,
        animation,
        flat_webp_lossless(2, 2, false)[12..].to_vec(),
    ])
}

/// Two partitions of coefficients, which the header's coded bits say; the first declares 2²⁴ - 1 bytes.
fn lying_partition() -> Vec<u8> {
    let mut data = ((64u32) << 5 | 1 << 4).to_le_bytes()[..3].to_vec();
    data.extend([0x9d, 0x01, 0x2a, 16, 0, 16, 0]);
    // Ones are decoded where the coded number is large: enough of them that the partitions' number is not 1.
    data.extend([0x00, 0x3f, 0xff, 0xff]);
    data.resize(data.len() + 60, 0xff);
    data.extend([0xff; 3 * 7]);
    data.resize(data.len() + 1000, 0);
    riff(&[riff_chunk(b"VP8 ", &data)])
}
