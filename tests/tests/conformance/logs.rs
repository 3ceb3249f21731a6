//! Limits and maintenance of a partition: message size, retention, compaction, checks of batches.

use crate::{
    broker::{LIMIT, Seen, bootstrap, read, send, topic, transactional, values},
    raw::{
        Batch, EARLIEST, LATEST, READ_UNCOMMITTED, code, fetch, list_offset, now_ms, produce,
        produce_bytes, records,
    },
};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, Producer as _},
};
use sightline_testkit::{eventually_within, producer, unique};
use std::time::Duration;

/// The broker runs retention and compaction periodically, so tests wait for them.
const UPKEEP: Duration = Duration::from_secs(60);

#[test]
fn record_sets_are_empty_and_never_null() {
    let topic = topic(1, &[]);
    let end = fetch(&topic, 0, READ_UNCOMMITTED);
    assert_eq!(code(end.error_code), None);
    assert_eq!(end.records, Some(Bytes::new()));
    let beyond = fetch(&topic, 5, READ_UNCOMMITTED);
    let out_of_range = Some(ResponseError::OffsetOutOfRange);
    assert_eq!(code(beyond.error_code), out_of_range);
    assert_eq!(beyond.records, Some(Bytes::new()));
}

#[test]
fn a_batch_above_the_topics_limit_is_refused() {
    let topic = topic(1, &[("max.message.bytes", "10000")]);
    let large = "x".repeat(20_000);
    let (error, _) = produce(&topic, None, &Batch::plain(&[&large]));
    assert_eq!(error, Some(ResponseError::MessageTooLarge));
    let fits = "x".repeat(9_000);
    assert_eq!(produce(&topic, None, &Batch::plain(&[&fits])), (None, 0));
    assert_eq!(list_offset(&topic, LATEST, READ_UNCOMMITTED).0, 1);
}

#[test]
fn the_limit_holds_for_a_batch_to_the_byte() {
    let batch = Batch::plain(&["a value of some length"]);
    let size = batch.encode().len();
    let exact = topic(1, &[("max.message.bytes", &size.to_string())]);
    assert_eq!(produce(&exact, None, &batch), (None, 0));
    let short = topic(1, &[("max.message.bytes", &(size - 1).to_string())]);
    let (error, _) = produce(&short, None, &batch);
    assert_eq!(error, Some(ResponseError::MessageTooLarge));
}

#[test]
fn a_topic_accepts_a_megabyte_by_default() {
    let (standard, raised) = (topic(1, &[]), topic(1, &[("max.message.bytes", "8388608")]));
    let large = "x".repeat(1_048_588);
    let (error, _) = produce(&standard, None, &Batch::plain(&[&large]));
    assert_eq!(error, Some(ResponseError::MessageTooLarge));
    assert_eq!(produce(&raised, None, &Batch::plain(&[&large])), (None, 0));
    let fits = "x".repeat(1_000_000);
    assert_eq!(produce(&standard, None, &Batch::plain(&[&fits])), (None, 0));
}

#[test]
fn one_record_above_the_fetch_limit_is_still_returned() {
    let topic = topic(1, &[("max.message.bytes", "8388608")]);
    let large = "x".repeat(2 << 20);
    assert_eq!(produce(&topic, None, &Batch::plain(&[&large])), (None, 0));
    assert_eq!(produce(&topic, None, &Batch::plain(&[&large])), (None, 1));
    assert_eq!(records(&fetch(&topic, 0, READ_UNCOMMITTED)).len(), 1);
    assert_eq!(records(&fetch(&topic, 1, READ_UNCOMMITTED))[0].offset, 1);
}

#[test]
fn a_damaged_batch_is_refused() {
    let topic = topic(1, &[]);
    let mut damaged = Batch::plain(&["value"]).encode().to_vec();
    let last = damaged.len() - 2;
    damaged[last] ^= 1;
    let answer = produce_bytes(&topic, None, damaged.into());
    let corrupt = Some(ResponseError::CorruptMessage);
    assert_eq!(code(answer.error_code), corrupt);
    assert_eq!(list_offset(&topic, LATEST, READ_UNCOMMITTED).0, 0);
}

#[test]
fn list_offsets_answers_by_timestamp() {
    let topic = topic(1, &[]);
    let base = now_ms() - 60_000;
    for (offset, late) in [(0, 1000), (1, 3000), (2, 2000), (3, 4000)] {
        let batch = Batch::plain(&["x"]).at(base + late);
        assert_eq!(produce(&topic, None, &batch), (None, offset));
    }
    let asked = |timestamp| list_offset(&topic, timestamp, READ_UNCOMMITTED);
    assert_eq!(asked(base), (0, base + 1000));
    assert_eq!(asked(base + 1000), (0, base + 1000));
    assert_eq!(asked(base + 1001), (1, base + 3000));
    assert_eq!(asked(base + 3001), (3, base + 4000));
    assert_eq!(asked(base + 4001), (-1, -1));
    assert_eq!(asked(-3), (3, base + 4000));
    assert_eq!(asked(EARLIEST).0, 0);
    assert_eq!(asked(LATEST).0, 4);
}

#[test]
fn list_offsets_finds_a_record_inside_a_batch() {
    let topic = topic(1, &[]);
    let producer = producer(bootstrap(), &[("linger.ms", "200")]).unwrap();
    let base = now_ms() - 60_000;
    for late in 0..5 {
        let record = BaseRecord::<str, str>::to(&topic).partition(0);
        let record = record.payload("x").timestamp(base + 1000 * late);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let found = list_offset(&topic, base + 2500, READ_UNCOMMITTED);
    assert_eq!(found, (3, base + 3000));
}

#[test]
fn records_past_the_retention_time_are_removed() {
    let topic = topic(1, &[("retention.ms", "60000")]);
    let old = Batch::plain(&["old"]).at(now_ms() - 3_600_000);
    for offset in 0..3 {
        assert_eq!(produce(&topic, None, &old), (None, offset));
    }
    eventually_within(UPKEEP, "the old records are gone", || {
        (list_offset(&topic, EARLIEST, READ_UNCOMMITTED).0 == 3).then_some(())
    });
    assert_eq!(produce(&topic, None, &Batch::plain(&["new"])), (None, 3));
    let seen = values(&topic, "read_committed");
    assert_eq!(seen, [(3, "new".to_owned())]);
    let gone = fetch(&topic, 0, READ_UNCOMMITTED);
    let out_of_range = Some(ResponseError::OffsetOutOfRange);
    assert_eq!(code(gone.error_code), out_of_range);
}

#[test]
fn records_above_the_retention_size_are_removed() {
    let config = [("retention.bytes", "2097152"), ("segment.bytes", "1048576")];
    let topic = topic(1, &config);
    let value = "x".repeat(300_000);
    for offset in 0..20 {
        let batch = Batch::plain(&[&value]);
        assert_eq!(produce(&topic, None, &batch), (None, offset));
    }
    let start = eventually_within(UPKEEP, "the first records are gone", || {
        let start = list_offset(&topic, EARLIEST, READ_UNCOMMITTED).0;
        (start >= 9).then_some(start)
    });
    // The broker keeps the configured size, plus less than one segment.
    assert!((9..=13).contains(&start), "{start}");
    assert_eq!(read(&topic, "read_committed")[0].offset, start);
}

fn keyed(topic: &str, entries: &[(&str, Option<&str>)]) {
    let producer = producer(bootstrap(), &[]).unwrap();
    for (key, value) in entries {
        let mut record = BaseRecord::<str, str>::to(topic).partition(0).key(*key);
        record.payload = *value;
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
    }
}

const COMPACTED: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("delete.retention.ms", "100"),
    ("min.compaction.lag.ms", "0"),
];

fn pairs(seen: Vec<Seen>) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    seen.into_iter()
        .map(|seen| {
            let key = text(seen.key.unwrap_or_default());
            (seen.offset, key, seen.value.map(text))
        })
        .collect()
}

#[test]
fn compaction_keeps_the_last_of_each_key_at_its_offset() {
    let topic = topic(1, &COMPACTED);
    keyed(
        &topic,
        &[
            ("a", Some("1")),
            ("b", Some("1")),
            ("a", Some("2")),
            ("gone", Some("1")),
            ("a", Some("3")),
            ("gone", None),
        ],
    );
    let wanted = [
        (1, "b".to_owned(), Some("1".to_owned())),
        (4, "a".to_owned(), Some("3".to_owned())),
    ];
    eventually_within(UPKEEP, "compaction, tombstones included", || {
        // A segment is closed when a record arrives after its time limit.
        std::thread::sleep(Duration::from_millis(300));
        keyed(&topic, &[("tick", Some("x"))]);
        let mut seen = pairs(read(&topic, "read_committed"));
        seen.retain(|(_, key, _)| key != "tick");
        (seen == wanted).then_some(())
    });
    assert_eq!(list_offset(&topic, EARLIEST, READ_UNCOMMITTED).0, 0);
}

#[test]
fn compaction_drops_aborted_records_and_keeps_committed_ones() {
    let topic = topic(1, &COMPACTED);
    let transactions = transactional(&unique("transaction"));
    for (value, commits) in [("old", true), ("committed", true), ("aborted", false)] {
        transactions.begin_transaction().unwrap();
        let record = BaseRecord::<str, str>::to(&topic).partition(0);
        let record = record.key("k").payload(value);
        transactions.send(record).map_err(|(e, _)| e).unwrap();
        if commits {
            transactions.commit_transaction(LIMIT).unwrap();
        } else {
            transactions.flush(LIMIT).unwrap();
            transactions.abort_transaction(LIMIT).unwrap();
        }
    }
    eventually_within(UPKEEP, "compaction", || {
        std::thread::sleep(Duration::from_millis(300));
        keyed(&topic, &[("tick", Some("x"))]);
        let mut seen = pairs(read(&topic, "read_uncommitted"));
        seen.retain(|(_, key, _)| key != "tick");
        let wanted = [(2, "k".to_owned(), Some("committed".to_owned()))];
        (seen == wanted).then_some(())
    });
    let mut seen = pairs(read(&topic, "read_committed"));
    seen.retain(|(_, key, _)| key != "tick");
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_compacted_topic_refuses_a_record_without_a_key() {
    let topic = topic(1, &[("cleanup.policy", "compact")]);
    let (error, _) = produce(&topic, None, &Batch::plain(&["no key"]));
    assert_eq!(error, Some(ResponseError::InvalidRecord));
}

#[test]
fn a_missing_topic_is_unknown() {
    let name = unique("never");
    let producer = producer(bootstrap(), &[("topic.metadata.propagation.max.ms", "100")]).unwrap();
    let metadata = producer.client().fetch_metadata(Some(&name), LIMIT);
    let metadata = metadata.unwrap();
    let error = metadata.topics()[0].error().unwrap();
    let error = KafkaError::MetadataFetch(error.into());
    assert_eq!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition)
    );
    let metadata = producer.client().fetch_metadata(None, LIMIT).unwrap();
    assert!(metadata.topics().iter().all(|topic| topic.name() != name));
}

#[test]
fn a_missing_partition_is_unknown() {
    let topic = topic(1, &[]);
    let batch = Batch::plain(&["x"]).encode();
    let request = crate::raw::produce_request(&topic, 7, None, batch);
    let mut connection = sightline_testkit::wire::leader(bootstrap(), &topic, 0);
    let answer = connection.call(&request, 9).unwrap();
    let answer = &answer.responses[0].partition_responses[0];
    let unknown = Some(ResponseError::UnknownTopicOrPartition);
    assert_eq!(code(answer.error_code), unknown);
}

#[test]
fn acks_zero_is_written_without_an_answer() {
    let topic = topic(1, &[]);
    let producer = producer(bootstrap(), &[("acks", "0")]).unwrap();
    send(&producer, &topic, &["a", "b"]);
    eventually_within(LIMIT, "both records", || {
        (list_offset(&topic, LATEST, READ_UNCOMMITTED).0 == 2).then_some(())
    });
}
