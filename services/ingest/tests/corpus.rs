//! The seeds of the fuzz target `notification`, and mutations of them, held to the stage's promises.
#![allow(clippy::unwrap_used)]

mod promises;

use proptest::prelude::*;
use std::{fs, path::Path};

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/notification");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_seed_is_read_or_refused() {
    let seeds = seeds();
    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for seed in seeds {
        promises::hold(&seed);
    }
}

proptest! {
    #[test]
    fn so_is_what_is_made_of_them(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
    ) {
        let seeds = seeds();
        let mut bytes = seed.get(&seeds).clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len().max(1));
            if let Some(found) = bytes.get_mut(place) {
                *found = byte;
            }
        }
        promises::hold(&bytes);
        bytes.truncate(end.index(bytes.len() + 1));
        promises::hold(&bytes);
    }
}
