//! ingest's guarantees for any bytes in its input topic.
#![no_main]

#[path = "../../../services/ingest/tests/guarantees/mod.rs"]
mod guarantees;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| guarantees::check(bytes));
