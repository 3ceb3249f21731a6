//! Whatever the bytes are, there is a whole picture within the limits or an error.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sightline_vision::{
    Error, Limits, Picture, Preprocessing, ThumbnailSpec, decode, tensor, thumbnail,
};
use std::{fs, path::PathBuf};

const TIGHT: Limits = Limits {
    max_pixels: 10_000,
    max_side: 400,
    max_ratio: 64,
};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name),
    )
    .unwrap()
}

const KINDS: [&str; 12] = [
    "420.jpg",
    "progressive.jpg",
    "restart.jpg",
    "cmyk.jpg",
    "orientation-6.jpg",
    "orientation-6.png",
    "palette-transparent.png",
    "rgb16.png",
    "palette.bmp",
    "alpha.bmp",
    "lossy.webp",
    "lossless-alpha.webp",
];

fn kept(decoded: Result<Picture, Error>, limits: &Limits) {
    if let Ok(picture) = decoded {
        let (width, height) = (picture.width(), picture.height());
        assert!(width.max(height) <= limits.max_side);
        assert!(u64::from(width) * u64::from(height) <= limits.max_pixels);
        tensor(
            &picture,
            &Preprocessing {
                size: [32, 32],
                ..Preprocessing::default()
            },
        );
        thumbnail(&picture, &ThumbnailSpec::default());
    }
}

#[test]
fn a_picture_cut_short_is_an_error() {
    for name in KINDS
        .iter()
        .chain(&["landscape.jpg", "portrait.jpg", "enlarged.png", "rgb.bmp"])
    {
        let whole = fixture(name);
        for percent in [1, 10, 40, 70, 90, 97] {
            let cut = &whole[..whole.len() * percent / 100];
            let outcome = decode(cut, &Limits::default());
            assert!(outcome.is_err(), "{name} cut at {percent} %");
            if percent >= 40 {
                assert!(
                    matches!(outcome, Err(Error::Truncated { .. })),
                    "{name} cut at {percent} %: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_header_that_declares_too_much_is_refused_before_decoding() {
    // A PNG of 65,000 × 65,000 pixels in a hundred bytes.
    let mut png = fixture("grey.png");
    png[16..20].copy_from_slice(&65_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&65_000u32.to_be_bytes());
    assert!(decode(&png, &Limits::default()).is_err());
    for name in KINDS {
        let limits = Limits {
            max_pixels: 61 * 43 - 1,
            ..Limits::default()
        };
        let outcome = decode(&fixture(name), &limits);
        assert!(
            matches!(outcome, Err(Error::TooManyPixels { .. })),
            "{name}: {outcome:?}"
        );
        let limits = Limits {
            max_side: 60,
            ..Limits::default()
        };
        let outcome = decode(&fixture(name), &limits);
        assert!(
            matches!(outcome, Err(Error::TooManyPixels { .. })),
            "{name}: {outcome:?}"
        );
        let limits = Limits {
            max_ratio: 1,
            ..Limits::default()
        };
        let outcome = decode(&fixture(name), &limits);
        assert!(
            matches!(outcome, Err(Error::TooManyPixels { .. })),
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn what_is_no_picture_is_not_recognised() {
    assert!(matches!(decode(b"", &Limits::default()), Err(Error::Empty)));
    for bytes in [&b"\xff"[..], b"hello, I am a text", b"GIF89a\x01\0\x01\0"] {
        assert!(matches!(
            decode(bytes, &Limits::default()),
            Err(Error::Unrecognised { .. })
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_do_no_harm(kind in 0..KINDS.len(), magic in 0usize..64, tail: Vec<u8>) {
        let mut bytes = fixture(KINDS[kind]);
        bytes.truncate(magic);
        bytes.extend(tail);
        kept(decode(&bytes, &TIGHT), &TIGHT);
    }

    #[test]
    fn damaged_files_do_no_harm(
        kind in 0..KINDS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        early in any::<bool>(),
    ) {
        let mut bytes = fixture(KINDS[kind]);
        let reach = if early { bytes.len().min(200) } else { bytes.len() };
        for (at, value) in changes {
            bytes[at.index(reach)] = value;
        }
        kept(decode(&bytes, &TIGHT), &TIGHT);
    }
}
