//! What the stage guarantees for any bytes. The fuzz target `notification` checks the same.

use sightline_contracts::{ImageRef, Thumbnail, Topic};
use sightline_ingest::{Ingest, admission::Admission};
use sightline_stream::{Outcome, Record};

const MAX_RECORDS: usize = 20;

fn stage() -> Ingest {
    Ingest::unregistered(Admission {
        buckets: vec!["images".into()],
        max_records: MAX_RECORDS,
        max_object_bytes: ImageRef::DEFAULT_MAX_BYTES,
        thumbnail_prefix: Thumbnail::DEFAULT_PREFIX.into(),
    })
}

/// Panics if a guarantee does not hold: a notification ends as rejected or done, with at most one output a record; only
/// objects that the settings allow are admitted; a record that is written back alone is rejected, so that it does not
/// circulate.
pub fn check(bytes: &[u8]) {
    let stage = stage();
    let record = |value| Record::new(Topic::Ingest, None, Some(value));
    let outputs = match stage.ingest(&record(bytes.to_vec().into())) {
        Outcome::Done(outputs) => outputs,
        Outcome::Reject(why) => return assert!(!why.error.is_empty()),
        Outcome::Retry { error, .. } => panic!("nothing to wait for: {error}"),
    };
    assert!(outputs.len() <= MAX_RECORDS);
    for output in outputs {
        let value = output.value.unwrap_or_default();
        if output.topic == Topic::Images.name() {
            let image = ImageRef::from_json(&value).expect("the reference can be read");
            assert_eq!(image.bucket, "images");
            assert!((1..=ImageRef::MAX_KEY_BYTES).contains(&image.key.len()));
            assert!(!image.key.chars().any(char::is_control));
        } else {
            let again = stage.ingest(&record(value));
            assert!(matches!(again, Outcome::Reject(_)), "{again:?}");
        }
    }
}
