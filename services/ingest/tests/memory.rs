//! Measures the memory that one notification takes, in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use sightline_contracts::{Reason, Thumbnail, Topic};
use sightline_ingest::{Ingest, admission::Admission};
use sightline_stream::{Outcome, Record};

/// The largest message that the topic accepts, in bytes.
const NOTIFICATION: usize = 1 << 20;

/// The largest resident memory of this process so far, in bytes.
fn peak() -> u64 {
    sightline_testkit::peak_memory(std::process::id()).unwrap()
}

fn ingest(value: String) -> Outcome {
    let stage = Ingest::unregistered(Admission {
        buckets: vec!["images".into()],
        max_records: 1000,
        max_object_bytes: 1,
        thumbnail_prefix: Thumbnail::DEFAULT_PREFIX.into(),
    });
    stage.ingest(&Record::new(Topic::Ingest, None, Some(value.into())))
}

/// Without a limit, 350,000 records took 613 MB and became as many dead letters.
#[test]
fn a_megabyte_of_bad_records_is_one_dead_letter_and_little_memory() {
    let many = format!("{{\"Records\":[{}{{}}]}}", "{},".repeat(NOTIFICATION / 3));
    let lists = "[],".repeat(NOTIFICATION / 3);
    let wide = format!("{{\"Records\":[{{\"x\":[{lists}[]]}},{{}}]}}");
    let before = peak();
    let refused = ingest(many);
    assert!(matches!(refused, Outcome::Reject(why) if why.reason == Reason::TooLarge));
    let put_back = ingest(wide);
    assert!(matches!(put_back, Outcome::Done(outputs) if outputs.len() == 2));
    let grown = peak() - before;
    println!("{grown} kB");
    assert!(grown < 10 << 20, "{grown} bytes for two megabytes");
}
