//! Any bytes give a complete picture within the limits, or an error.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sightline_manifest::Preprocessing;
use sightline_vision::{Error, Limits, Picture, ThumbnailSpec, decode, tensor, thumbnail};
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

/// The first segment of this kind, from its marker on.
fn segment(jpeg: &[u8], code: u8) -> usize {
    let marker = |pair: &[u8]| pair == [0xff, code];
    jpeg.windows(2).position(marker).unwrap()
}

fn with_segment(jpeg: &[u8], at: usize, code: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&jpeg[..at], &[0xff, code], &length, body, &jpeg[at..]].concat()
}

/// What an error says, its cause included.
fn refusal(bytes: &[u8]) -> String {
    let error = decode(bytes, &Limits::default()).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[test]
fn kinds_that_are_not_supported_are_named() {
    let jpeg = |change: &dyn Fn(&mut [u8], usize)| {
        let mut file = fixture("420.jpg");
        let frame = segment(&file, 0xc0);
        change(&mut file, frame);
        file
    };
    let coding = |code: u8| jpeg(&move |file, frame| file[frame + 1] = code);
    let bmp = |at: usize, value: u8| {
        let mut file = fixture("rgb.bmp");
        file[at] = value;
        file
    };
    for (file, name) in [
        (coding(0xc9), "arithmetic coding"),
        (coding(0xca), "arithmetic coding"),
        (coding(0xc3), "lossless coding"),
        (coding(0xc5), "hierarchical coding"),
        (jpeg(&|file, frame| file[frame + 4] = 12), "12 bits"),
        (
            jpeg(&|file, frame| file[frame + 5..frame + 7].fill(0)),
            "DNL",
        ),
        (bmp(30, 4), "JPEG compression"),
        (bmp(30, 5), "PNG compression"),
        (bmp(14, 64), "header type (size=64)"),
    ] {
        let said = refusal(&file);
        assert!(
            said.contains("not supported") && said.contains(name),
            "{said}"
        );
    }
}

#[test]
fn metadata_of_a_jpeg_is_passed_over() {
    let plain = fixture("420.jpg");
    let expected = decode(&plain, &Limits::default()).unwrap();
    // A preview with a frame header and an end of its own, within the segment.
    let preview = [&b"Exif\0\0"[..], &plain].concat();
    let mut file = plain.clone();
    for (code, body) in [
        (
            0xe2,
            &[&b"ICC_PROFILE\0\x01\x02"[..], &[7; 60_000]].concat()[..],
        ),
        (
            0xe1,
            &[&b"http://ns.adobe.com/xap/1.0/\0"[..], &[7; 60_000]].concat(),
        ),
        (
            0xe1,
            &[&b"http://ns.adobe.com/xmp/extension/\0"[..], &[0xff; 100]].concat(),
        ),
        (0xed, &[&b"Photoshop 3.0\0"[..], &[7; 60_000]].concat()),
        (0xe1, &preview),
        (0xe5, &plain),
        (0xfe, &plain),
    ] {
        file = with_segment(&file, 2, code, body);
    }
    assert!(decode(&file, &Limits::default()).unwrap() == expected);
}

#[test]
fn a_second_frame_header_changes_no_size() {
    for name in ["420.jpg", "progressive.jpg", "restart.jpg"] {
        let plain = fixture(name);
        let code = if name == "progressive.jpg" {
            0xc2
        } else {
            0xc0
        };
        let frame = segment(&plain, code);
        let mut header = plain[frame + 4..frame + 19].to_vec();
        header[1..5].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
        let scan = segment(&plain, 0xda);
        // Before the frame, between it and the scan, after the scan's header, before the end.
        for at in [frame, frame + 19, scan, scan + 14, plain.len() - 2] {
            let file = with_segment(&plain, at, code, &header);
            if let Ok(picture) = decode(&file, &Limits::default()) {
                assert_eq!(
                    (picture.width(), picture.height()),
                    (61, 43),
                    "{name} at {at}"
                );
            }
        }
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
