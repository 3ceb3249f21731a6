//! A record is read as it was sent: headers, nulls, timestamps, with every codec.

use crate::{
    broker::{LIMIT, Seen, bootstrap, read, topic},
    raw::{READ_UNCOMMITTED, fetch, now_ms},
};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::Consumer as _,
    message::{Header, Headers as _, OwnedHeaders},
    producer::{BaseRecord, Producer as _},
};
use sightline_testkit::{consumer, producer};

#[test]
fn headers_and_timestamps_come_back_as_sent() {
    let topic = topic(1, &[]);
    let producer = producer(bootstrap(), &[]).unwrap();
    let timestamp = now_ms() - 12_345;
    let value = |key, value| Header { key, value };
    let headers = OwnedHeaders::new()
        .insert(value("traceparent", Some("00-ab-cd-01")))
        .insert(value("twice", Some("1")))
        .insert(value("twice", Some("2")))
        .insert(value("empty", Some("")))
        .insert(value("null", None));
    let record = BaseRecord::<str, str>::to(&topic).partition(0).key("k");
    let record = record.payload("v").timestamp(timestamp).headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();

    let consumer = consumer(bootstrap(), &[]).unwrap();
    let mut start = TopicPartitionList::new();
    start
        .add_partition_offset(&topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&start).unwrap();
    let message = consumer.poll(LIMIT).unwrap().unwrap();
    assert_eq!(message.timestamp().to_millis(), Some(timestamp));
    let headers: Vec<(String, Option<Vec<u8>>)> = message
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect();
    let wanted = [
        ("traceparent", Some("00-ab-cd-01")),
        ("twice", Some("1")),
        ("twice", Some("2")),
        ("empty", Some("")),
        ("null", None),
    ]
    .map(|(key, value)| (key.to_owned(), value.map(|value| value.as_bytes().to_vec())));
    assert_eq!(headers, wanted);
}

#[test]
fn null_is_not_empty() {
    let topic = topic(1, &[]);
    let producer = producer(bootstrap(), &[]).unwrap();
    let sent = [
        (None, None),
        (Some(""), Some("")),
        (Some("k"), None),
        (None, Some("v")),
    ];
    for (key, value) in sent {
        let mut record = BaseRecord::<str, str>::to(&topic).partition(0);
        (record.key, record.payload) = (key, value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let wanted: Vec<Seen> = (0..)
        .zip(sent)
        .map(|(offset, (key, value))| Seen {
            offset,
            key: bytes(key),
            value: bytes(value),
        })
        .collect();
    assert_eq!(read(&topic, "read_committed"), wanted);
}

#[test]
fn every_codec_is_stored_as_sent_and_comes_back() {
    for (number, codec) in [
        (0, "none"),
        (1, "gzip"),
        (2, "snappy"),
        (3, "lz4"),
        (4, "zstd"),
    ] {
        let topic = topic(1, &[]);
        let config = [("compression.codec", codec), ("linger.ms", "500")];
        let producer = producer(bootstrap(), &config).unwrap();
        let sent: Vec<String> = (0..100).map(|i| format!("a value, and {i}")).collect();
        for value in &sent {
            let record = BaseRecord::<str, str>::to(&topic)
                .partition(0)
                .payload(value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        let stored = fetch(&topic, 0, READ_UNCOMMITTED).records.unwrap();
        // The low three bits of the batch's attributes.
        assert_eq!(stored[22] & 7, number, "{codec}");
        let seen: Vec<String> = read(&topic, "read_committed")
            .into_iter()
            .map(|seen| String::from_utf8(seen.value.unwrap()).unwrap())
            .collect();
        assert_eq!(seen, sent, "{codec}");
    }
}
