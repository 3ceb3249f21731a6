//! Checks the stage's guarantees on the seeds of the fuzz target `notification` and on mutations of them.
#![allow(clippy::unwrap_used)]

mod guarantees;

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
        guarantees::check(&seed);
    }
}

proptest! {
    #[test]
    fn every_mutation_of_a_seed_is_read_or_refused(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
    ) {
        let seeds = seeds();
        let mut bytes = seed.get(&seeds).clone();
        for (index, byte) in changes {
            let index = index.index(bytes.len().max(1));
            if let Some(found) = bytes.get_mut(index) {
                *found = byte;
            }
        }
        guarantees::check(&bytes);
        bytes.truncate(end.index(bytes.len() + 1));
        guarantees::check(&bytes);
    }
}
