//! Any bytes decode to a picture of the size that the header gave, or to an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline_vision::{Limits, open};

/// Small, so that the fuzzer spends its time on unusual files and not on large ones.
const LIMITS: Limits = Limits {
    max_pixels: 1 << 18,
    max_side: 4_096,
    max_ratio: 64,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(encoded) = open(bytes, &LIMITS) else {
        return;
    };
    let size = (encoded.width(), encoded.height());
    assert!(encoded.memory() < 64 << 20);
    let Ok(picture) = encoded.decode() else {
        return;
    };
    let (width, height) = (picture.width(), picture.height());
    assert!((width, height) == size || (height, width) == size);
});
