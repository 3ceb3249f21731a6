//! Records that are produced come back unchanged.

use super::clients::{Rig, WAIT, read, send};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    message::{Header, Headers, Message, OwnedHeaders},
    producer::FutureRecord,
};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn keys_values_headers_and_every_codec_come_out_as_they_went_in() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let producer =
            rig.producer(&[("compression.codec", codec), ("enable.idempotence", "true")]);
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "codec",
                value: Some(codec),
            })
            .insert(Header::<&str> {
                key: "none",
                value: None,
            });
        let body = codec.repeat(100);
        producer
            .send(
                FutureRecord::to("t")
                    .key("k")
                    .payload(&body)
                    .headers(headers),
                WAIT,
            )
            .await
            .unwrap();
        producer
            .send(FutureRecord::<(), ()>::to("t"), WAIT)
            .await
            .unwrap();
    }
    let read = read(&rig.bootstrap(), "t", 0, "read_committed");
    assert_eq!(read.len(), codecs.len() * 2);
    for (pair, codec) in read.chunks(2).zip(codecs) {
        assert_eq!(pair[0].key(), Some(&b"k"[..]));
        assert_eq!(pair[0].payload().unwrap(), codec.repeat(100).as_bytes());
        assert_eq!(
            pair[0].headers().unwrap().get(0).value,
            Some(codec.as_bytes())
        );
        assert_eq!(pair[0].headers().unwrap().get(1).value, None);
        assert_eq!((pair[1].key(), pair[1].payload()), (None, None));
    }
    assert_eq!(
        read.iter().map(Message::offset).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let consumer = rig.consumer("g", &[("fetch.wait.max.ms", "10000")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    assert!(consumer.poll(Duration::from_secs(1)).is_none());
    let begun = std::time::Instant::now();
    send(&rig.producer(&[]), "t", 0, "x").await.unwrap();
    consumer.poll(WAIT).unwrap().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "took {:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_pass_small_fetch_limits_and_too_large_ones_are_refused() {
    let rig = Rig::start();
    rig.topic("t", 1, &[("max.message.bytes", "300000")]).await;
    let producer = rig.producer(&[("message.max.bytes", "2000000")]);
    let value = "v".repeat(200_000);
    for _ in 0..3 {
        send(&producer, "t", 0, &value).await.unwrap();
    }
    let refused = send(&producer, "t", 0, &"v".repeat(400_000))
        .await
        .unwrap_err();
    assert!(
        refused.contains("MessageSizeTooLarge") || refused.contains("Message size too large"),
        "{refused}"
    );
    let consumer = rig.consumer(
        "g",
        &[
            ("max.partition.fetch.bytes", "1000"),
            ("fetch.max.bytes", "1000"),
            ("message.max.bytes", "1000"),
        ],
    );
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    for _ in 0..3 {
        assert_eq!(
            consumer
                .poll(WAIT)
                .unwrap()
                .unwrap()
                .payload()
                .unwrap()
                .len(),
            200_000
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_time_are_exact() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let producer = rig.producer(&[("linger.ms", "50")]);
    let at = |i: i64| 1_700_000_000_000 + i * 1000;
    let sends = (0..100).map(|i| {
        let producer = producer.clone();
        async move {
            producer
                .send(
                    FutureRecord::<(), _>::to("t").payload("x").timestamp(at(i)),
                    WAIT,
                )
                .await
                .unwrap()
        }
    });
    for send in sends {
        send.await;
    }
    let consumer = rig.consumer("g", &[]);
    for (asked, expected) in [
        (at(0) - 5, Offset::Offset(0)),
        (at(41), Offset::Offset(41)),
        (at(41) + 1, Offset::Offset(42)),
        (at(99) + 1, Offset::End),
    ] {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(asked))
            .unwrap();
        let found = consumer.offsets_for_times(list, WAIT).unwrap();
        assert_eq!(found.elements()[0].offset(), expected, "asked for {asked}");
    }
    assert_eq!(consumer.fetch_watermarks("t", 0, WAIT).unwrap(), (0, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_drops_whole_old_segments() {
    let data = tempfile::tempdir().unwrap();
    let config = sightline_broker::Config {
        maintenance_interval: Duration::from_millis(100),
        ..sightline_broker::Config::new(data.path())
    };
    let rig = Rig {
        broker: Some(sightline_broker::Broker::start(config).unwrap()),
        data,
    };
    rig.topic(
        "t",
        1,
        &[("segment.bytes", "20000"), ("retention.bytes", "50000")],
    )
    .await;
    let producer = rig.producer(&[]);
    for _ in 0..30 {
        send(&producer, "t", 0, &"x".repeat(9000)).await.unwrap();
    }
    let consumer = rig.consumer("g", &[]);
    let begun = std::time::Instant::now();
    loop {
        let (low, high) = consumer.fetch_watermarks("t", 0, WAIT).unwrap();
        assert_eq!(high, 30);
        if low >= 20 {
            break;
        }
        assert!(begun.elapsed() < WAIT, "still from {low}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left = rig.values("t", 0, "read_committed").len();
    assert!((5..=10).contains(&left), "{left} left");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_the_newest_of_each_key_at_its_offset() {
    let data = tempfile::tempdir().unwrap();
    let config = sightline_broker::Config {
        maintenance_interval: Duration::from_millis(100),
        ..sightline_broker::Config::new(data.path())
    };
    let rig = Rig {
        broker: Some(sightline_broker::Broker::start(config).unwrap()),
        data,
    };
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "2000"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    rig.topic("t", 1, &settings).await;
    let producer = rig.producer(&[]);
    for i in 0..100 {
        let (key, value) = (format!("k{}", i % 5), format!("v{i}-{}", "x".repeat(90)));
        producer
            .send(FutureRecord::to("t").key(&key).payload(&value), WAIT)
            .await
            .unwrap();
    }
    let refused = send(&producer, "t", 0, "no key").await;
    assert!(
        refused.is_err(),
        "a compacted topic takes no record without a key"
    );
    let begun = std::time::Instant::now();
    loop {
        let left = read(&rig.bootstrap(), "t", 0, "read_committed");
        let newest: Vec<_> = left.iter().rev().take(5).map(|m| m.offset()).collect();
        assert_eq!(newest, [99, 98, 97, 96, 95]);
        if left.len() < 50 {
            for m in &left {
                assert!(
                    m.payload()
                        .unwrap()
                        .starts_with(format!("v{}-", m.offset()).as_bytes())
                );
            }
            break;
        }
        assert!(begun.elapsed() < WAIT, "{} left", left.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
