//! One request of Kafka's protocol, without its length, taken apart as the embedded broker's connections do: the header, the
//! body, and the record batches of a `Produce`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    // An error closes a connection, and is fine.
    let _ = sightline_broker::check_frame(frame);
});
