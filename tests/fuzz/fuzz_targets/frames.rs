//! Parses one request of Kafka's protocol, without its length, as the embedded broker's connections do: the header, the
//! body, and the record batches of a `Produce`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    // An error only closes the connection.
    let _ = sightline_broker::check_frame(frame);
});
