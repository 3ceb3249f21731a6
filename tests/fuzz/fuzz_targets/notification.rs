//! Any bytes in `ingest`: what the stage makes of them, admission included.
#![no_main]

#[path = "../../../services/ingest/tests/promises/mod.rs"]
mod promises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| promises::hold(bytes));
