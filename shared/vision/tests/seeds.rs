//! The seeds of `tests/fuzz`, replayed: among them each file that fuzzing once found.
#![allow(clippy::unwrap_used)]

use sightline_vision::{Limits, open};
use std::{fs, path::Path};

/// Those of the fuzz target.
const LIMITS: Limits = Limits {
    max_pixels: 1 << 18,
    max_side: 4_096,
    max_ratio: 64,
};

#[test]
fn seeds_give_the_size_that_was_checked_or_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/decode");
    let (mut whole, mut bytes) = (0, 0);
    for path in fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let seed = fs::read(&path).unwrap();
        bytes += seed.len();
        let Ok(encoded) = open(&seed, &LIMITS) else {
            continue;
        };
        let size = (encoded.width(), encoded.height());
        assert!(encoded.memory() < 64 << 20, "{}", path.display());
        let Ok(picture) = encoded.decode() else {
            continue;
        };
        let (width, height) = (picture.width(), picture.height());
        assert!(
            (width, height) == size || (height, width) == size,
            "{}",
            path.display()
        );
        whole += 1;
    }
    assert!(whole >= 30, "only {whole} of the seeds are pictures");
    assert!(
        bytes < 300_000,
        "{bytes} bytes: the seeds are to stay small"
    );
}
