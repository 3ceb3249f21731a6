//! The measured peak of the memory that decoding allocates, compared with what `Encoded::memory` said before. A
//! program
//! of its own whose tests run one after another, because the allocator counts the whole process.
#![allow(clippy::unwrap_used)]

use peak_alloc::PeakAlloc;
use sightline_testkit::hostile::{
    Jpeg, Png, bombs, endless_exif_webp, flat_bmp, flat_jpeg, flat_png, flat_webp_lossless,
    flat_webp_lossy, inflating_profile_png, inflating_text_png, mutations, tem_huge_jpeg,
};
use sightline_vision::{Error, Limits, Picture, decode, open};
use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[global_allocator]
static COUNTER: PeakAlloc = PeakAlloc;

/// Held while memory is measured.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folders() -> [PathBuf; 2] {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    [
        here.join("tests/fixtures"),
        here.join("../../tests/samples"),
    ]
}

const WHOLE: &[(u8, u8)] = &[(1, 1), (1, 1), (1, 1)];
const HALVED: &[(u8, u8)] = &[(2, 2), (1, 1), (1, 1)];
const NARROWED: &[(u8, u8)] = &[(2, 1), (1, 1), (1, 1)];
const GREY: &[(u8, u8)] = &[(1, 1)];
const FOUR: &[(u8, u8)] = &[(1, 1), (1, 1), (1, 1), (1, 1)];

/// What it said, what it took, and what came of it. A file whose header is refused costs a few copies of it at most,
/// and the decoders' tables.
fn cost(bytes: &[u8]) -> (u64, u64, Result<Picture, Error>) {
    let before = COUNTER.current_usage();
    COUNTER.reset_peak_usage();
    let taken = || (COUNTER.peak_usage() - before) as u64;
    let encoded = match open(bytes, &Limits::default()) {
        Ok(encoded) => encoded,
        Err(error) => return (4 * bytes.len() as u64 + (1 << 20), taken(), Err(error)),
    };
    let (said, size) = (encoded.memory(), [encoded.width(), encoded.height()]);
    let outcome = encoded.decode();
    if let Ok(picture) = &outcome {
        let mut sides = [picture.width(), picture.height()];
        if sides != size {
            sides.reverse();
        }
        assert_eq!(sides, size, "what was checked is what was decoded");
    }
    (said, taken(), outcome)
}

fn jpeg(size: (u16, u16), sampling: &[(u8, u8)], progressive: bool, interleaved: bool) -> Vec<u8> {
    let (width, height) = size;
    flat_jpeg(&Jpeg {
        width,
        height,
        sampling,
        progressive,
        interleaved,
    })
}

fn png((width, height): (u32, u32), color: u8, depth: u8, interlaced: bool) -> Vec<u8> {
    flat_png(&Png {
        width,
        height,
        depth,
        color,
        interlaced,
    })
}

/// The same with an EXIF orientation that makes width and height change places.
fn turned(mut jpeg: Vec<u8>) -> Vec<u8> {
    let exif =
        b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    jpeg
}

type Make = fn() -> Vec<u8>;

/// A picture of each kind that decoders allocate for.
const LARGE: &[(&str, Make)] = &[
    ("JPEG 500×375, 4:2:0", || {
        jpeg((500, 375), HALVED, false, true)
    }),
    ("JPEG 24 MP, 4:2:0", || {
        jpeg((6000, 4000), HALVED, false, true)
    }),
    ("JPEG 24 MP, 4:2:0, turned", || {
        turned(jpeg((6000, 4000), HALVED, false, true))
    }),
    ("JPEG 24 MP, 4:2:2", || {
        jpeg((6000, 4000), NARROWED, false, true)
    }),
    ("JPEG 24 MP, 4:4:4", || {
        jpeg((6000, 4000), WHOLE, false, true)
    }),
    ("JPEG 24 MP, 4:4:4, turned", || {
        turned(jpeg((6000, 4000), WHOLE, false, true))
    }),
    ("JPEG 24 MP, 4:4:4, a scan each", || {
        jpeg((6000, 4000), WHOLE, false, false)
    }),
    ("JPEG 24 MP, grey", || jpeg((6000, 4000), GREY, false, true)),
    ("JPEG 24 MP, four components", || {
        jpeg((6000, 4000), FOUR, false, true)
    }),
    ("JPEG 24 MP, progressive 4:2:0", || {
        jpeg((6000, 4000), HALVED, true, true)
    }),
    ("JPEG 24 MP, progressive 4:4:4", || {
        jpeg((6000, 4000), WHOLE, true, true)
    }),
    ("JPEG 24 MP, progressive grey", || {
        jpeg((6000, 4000), GREY, true, true)
    }),
    ("JPEG 16 MP, 32,000×500, 4:2:0", || {
        jpeg((32_000, 500), HALVED, false, true)
    }),
    ("JPEG 16 MP, 500×32,000, 4:2:0", || {
        jpeg((500, 32_000), HALVED, false, true)
    }),
    ("JPEG 100 MP, 4:2:0", || {
        jpeg((10_000, 10_000), HALVED, false, true)
    }),
    ("JPEG 100 MP, progressive 4:2:0", || {
        jpeg((10_000, 10_000), HALVED, true, true)
    }),
    ("JPEG 100 MP, progressive 4:4:4", || {
        jpeg((10_000, 10_000), WHOLE, true, true)
    }),
    ("PNG 6000×4000, RGB", || png((6000, 4000), 2, 8, false)),
    ("PNG 24 MP, RGB, interlaced", || {
        png((6000, 4000), 2, 8, true)
    }),
    ("PNG 24 MP, palette", || png((6000, 4000), 3, 8, false)),
    ("PNG 24 MP, 1 bit, interlaced", || {
        png((6000, 4000), 0, 1, true)
    }),
    ("PNG 24 MP, grey and alpha of 16 bits", || {
        png((6000, 4000), 4, 16, false)
    }),
    ("PNG 16 MP, 32,000×500, RGBA of 16 bits", || {
        png((32_000, 500), 6, 16, false)
    }),
    ("PNG 50 MP, RGBA of 16 bits", || {
        png((10_000, 5_000), 6, 16, false)
    }),
    ("PNG 100 MP, RGB", || png((10_000, 10_000), 2, 8, false)),
    ("BMP 24 MP, 24 bits", || flat_bmp(6000, 4000, 24)),
    ("BMP 24 MP, 8 bits", || flat_bmp(6000, 4000, 8)),
    ("BMP 24 MP, 32 bits", || flat_bmp(6000, 4000, 32)),
    ("BMP 100 MP, 8 bits", || flat_bmp(10_000, 10_000, 8)),
    ("WebP 24 MP, lossy", || flat_webp_lossy(6000, 4000)),
    ("WebP 24 MP, lossless", || {
        flat_webp_lossless(6000, 4000, false)
    }),
    ("WebP 24 MP, lossless with alpha", || {
        flat_webp_lossless(6000, 4000, true)
    }),
    ("WebP 100 MP, lossy", || flat_webp_lossy(10_000, 10_000)),
    ("WebP 100 MP, lossless", || {
        flat_webp_lossless(10_000, 10_000, false)
    }),
];

#[test]
fn decoding_takes_at_most_the_memory_that_was_predicted() {
    let _alone = alone();
    println!("{:44} {:>9} {:>9}  said/taken", "", "said MB", "taken MB");
    let mut wrong = Vec::new();
    let mut row = |name: &str, bytes: &[u8], tight: bool| {
        let (said, taken, outcome) = cost(bytes);
        let ratio = said as f64 / taken.max(1) as f64;
        let (said_mb, taken_mb) = (said as f64 / 1e6, taken as f64 / 1e6);
        println!("{name:44} {said_mb:9.2} {taken_mb:9.2} {ratio:6.2}");
        outcome.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        if taken > said || (tight && ratio > 1.6) {
            wrong.push(name.to_owned());
        }
    };
    for (name, make) in LARGE {
        row(name, &make(), !name.contains("500×375"));
    }
    for folder in folders() {
        let paths = fs::read_dir(folder).unwrap();
        for path in paths.map(|entry| entry.unwrap().path()) {
            let kind = path.extension().and_then(|ending| ending.to_str());
            if matches!(kind, Some("jpg" | "png" | "bmp" | "webp")) {
                let name = path.file_name().unwrap().to_string_lossy();
                row(&name, &fs::read(&path).unwrap(), false);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Decodes the file, and checks that it takes at most `most` bytes.
fn cheap(bytes: &[u8], most: u64) -> Picture {
    let (said, taken, outcome) = cost(bytes);
    assert!(taken <= said, "{taken} bytes were taken, {said} said");
    assert!(taken <= most, "{taken} bytes");
    outcome.unwrap()
}

#[test]
fn a_jpeg_that_two_readers_read_differently_took_5_gigabytes() {
    let _alone = alone();
    let base = fs::read(folders()[0].join("420.jpg")).unwrap();
    let picture = cheap(&tem_huge_jpeg(&base), 1 << 20);
    assert!(picture == decode(&base, &Limits::default()).unwrap());
}

#[test]
fn a_webp_whose_exif_says_4_gigabytes_aborted() {
    let _alone = alone();
    assert_eq!(cheap(&endless_exif_webp(), 1 << 20).rgb(), [0, 0, 0]);
}

#[test]
fn a_png_s_profile_inflated_to_560_mebibytes() {
    let _alone = alone();
    for png in [inflating_profile_png(560), inflating_text_png(560)] {
        assert_eq!(cheap(&png, 1 << 20).rgb(), [0, 0, 0]);
    }
}

#[test]
fn a_png_of_16_bit_pixels_took_15_bytes_for_each() {
    let _alone = alone();
    let (_, taken, outcome) = cost(&png((10_000, 5_000), 6, 16, false));
    outcome.unwrap();
    assert!(taken < 50_000_000 * 7 / 2, "{taken}");
}

/// Only the fourth of those pictures is not here: how many Huffman codes a lossless WebP has, and so what they take, is
/// said nowhere but in its coded data. The process that decodes it is bounded.
#[test]
fn bombs_take_at_most_the_memory_that_was_predicted() {
    let _alone = alone();
    for (name, bytes) in bombs() {
        let (said, taken, outcome) = cost(&bytes);
        let outcome =
            outcome.map_or_else(|error| error.to_string(), |picture| format!("{picture:?}"));
        println!("{name}: {taken} of {said} bytes: {outcome}");
        assert!(
            taken <= said,
            "{name}: {taken} bytes were taken, {said} said"
        );
    }
}

#[test]
fn damaged_pictures_take_at_most_the_memory_that_was_predicted() {
    let _alone = alone();
    let folders = folders();
    let folders = [folders[0].as_path(), folders[1].as_path()];
    let (mut whole, mut refused) = (0, 0);
    for (number, (what, bytes)) in mutations(16, &folders).unwrap().take(2_000).enumerate() {
        if what.contains("Huffman") {
            continue;
        }
        let (said, taken, outcome) = cost(&bytes);
        assert!(
            taken <= said,
            "{number}, {what}: {taken} bytes were taken, {said} said"
        );
        *if outcome.is_ok() {
            &mut whole
        } else {
            &mut refused
        } += 1;
    }
    println!("{whole} decoded, {refused} refused");
    assert!(
        whole > 200 && refused > 500,
        "{whole} decoded, {refused} refused"
    );
}
