//! Records that anyone may write, and that must not stop the loop.

use crate::support::*;
use prometheus_client::{encoding::text, registry::Registry};
use sightline_contracts::{Reason, Topic, headers};
use sightline_stream::{Families, Headers, Message, Outcome, Publisher, Record, admin};
use sightline_testkit::{Bootstrap, batch::Raw};
use std::time::{Duration, Instant};

/// More than the topic of dead letters takes, and a few kilobytes once compressed.
const LARGE: usize = 12 << 20;

/// Writes a record whose second of three headers has the name `\xff`.
async fn write_misnamed(cluster: &Cluster, value: &'static str) {
    let bootstrap = Bootstrap::new(cluster.kafka.bootstrap.clone());
    let topic = cluster.name(Topic::Ingest);
    let write = move || {
        let record = Raw {
            key: b"odd",
            value: value.as_bytes(),
            headers: &[(b"before", b"1"), (b"\xff", b"2"), (b"after", b"3")],
        };
        record.produce(&bootstrap, &topic, 0).unwrap()
    };
    tokio::task::spawn_blocking(write).await.unwrap();
}

fn assert_misnamed_is_left_out(record: &Record) {
    let header = |name| record.headers.text(name);
    assert_eq!((header("before"), header("after")), (Some("1"), Some("3")));
}

/// It panicked in the poll thread, after each restart again, and in whatever else read the topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_name_that_is_not_utf8_stops_neither_the_loop_nor_a_reader() {
    let cluster = Cluster::start("misnamed").await;
    write_misnamed(&cluster, "0").await;
    write_misnamed(&cluster, "1").await;
    cluster.publish(2..10).await;
    let mut registry = Registry::default();
    let instance = cluster.measured(
        cluster.settings(),
        Do(async |record: Record| match number(&record) {
            1 => Outcome::reject(Reason::Malformed, "no good"),
            _ => crate::pass_on(record),
        }),
        Families::register(&mut registry).stage("test"),
    );
    let copies = cluster.read(Topic::Images, 9).await;
    assert!(copies.iter().any(|copy| number(copy) == 0));
    for letter in cluster.read(Topic::DeadLetters, 1).await {
        assert_misnamed_is_left_out(&letter);
        assert_eq!(letter.headers.text(headers::HEADERS_DROPPED), Some("1"));
    }
    instance.stop().await.unwrap();
    let originals = cluster.read(Topic::Ingest, 10).await;
    let misnamed = originals.iter().filter(|r| r.headers.dropped() == 1);
    assert_eq!(
        misnamed.inspect(|r| assert_misnamed_is_left_out(r)).count(),
        2
    );
    let mut metrics = String::new();
    text::encode(&mut metrics, &registry).unwrap();
    let counted = "sightline_dropped_headers_total{stage=\"test\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

async fn publish_compressed(cluster: &Cluster, records: &[Message]) {
    let mut kafka = cluster.kafka.clone();
    kafka.property = vec!["compression.codec=gzip".parse().unwrap()];
    let publisher = Publisher::new(&kafka).unwrap();
    publisher.send_all(records).await.unwrap();
}

/// The dead letter with this error.
fn letter_of<'a>(letters: &'a [admin::DeadLetter], what: &str) -> &'a admin::DeadLetter {
    let of = |letter: &&admin::DeadLetter| letter.error.as_deref() == Some(what);
    letters.iter().find(of).unwrap()
}

/// The transaction was given up and begun again for ever, and its partition stood still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_its_topic_refuses_for_its_size_goes_with_less() {
    let cluster = Cluster::start("larger").await;
    let large = vec![0; LARGE];
    let (mut value, mut key, mut header) = (
        Message::new(cluster.name(Topic::Ingest), "value", large.clone()),
        Message::new(cluster.name(Topic::Ingest), large.clone(), "key"),
        Message::new(cluster.name(Topic::Ingest), "header", "header"),
    );
    header.headers = Headers::from_iter([("zeros".to_owned(), Some(large.into()))]);
    for message in [&mut value, &mut key, &mut header] {
        message.partition = Some(0);
    }
    publish_compressed(&cluster, &[value, key, header]).await;
    cluster.publish(0..30).await;
    let instance = cluster.instance(
        cluster.settings(),
        Do(async |record: Record| match record.value.as_deref() {
            Some(b"key") => Outcome::reject(Reason::Malformed, "key"),
            Some(b"header") => Outcome::reject(Reason::Malformed, "header"),
            Some([0, ..]) => Outcome::reject(Reason::Malformed, "value"),
            _ => crate::pass_on(record),
        }),
    );
    let copies = cluster.read(Topic::Images, 30).await;
    assert_each_once_in_order(&copies, 0..30);
    let letters = cluster.read(Topic::DeadLetters, 3).await;
    let letters: Vec<_> = letters.into_iter().map(admin::DeadLetter::from).collect();
    let value = letter_of(&letters, "value");
    assert_eq!(value.value_dropped, Some(LARGE as u64));
    assert_eq!(value.record.key.as_deref(), Some(&b"value"[..]));
    assert_eq!(value.record.value, None);
    let dropped =
        |letter: &admin::DeadLetter, name| letter.record.headers.text(name).map(str::to_owned);
    let key = letter_of(&letters, "key");
    assert_eq!(dropped(key, headers::KEY_DROPPED), Some(LARGE.to_string()));
    assert_eq!((&key.record.key, key.value_dropped), (&None, Some(3)));
    let header = letter_of(&letters, "header");
    assert_eq!(
        dropped(header, headers::HEADERS_DROPPED),
        Some("1".to_owned())
    );
    for letter in &letters {
        assert_eq!(letter.reason, Some(Reason::Malformed));
        assert_eq!(letter.source_partition, Some(0));
    }
    instance.stop().await.unwrap();
}

/// First the output is refused, then the dead letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_too_large_of_a_value_too_large_becomes_a_dead_letter_without_it() {
    let cluster = Cluster::start("both").await;
    let large = Message::new(cluster.name(Topic::Ingest), "k", vec![b' '; LARGE]);
    publish_compressed(&cluster, &[large]).await;
    let started = Instant::now();
    let instance = cluster.instance(cluster.settings(), Do(async |r| crate::pass_on(r)));
    let letters = cluster.read(Topic::DeadLetters, 1).await;
    let letter = admin::DeadLetter::from(letters[0].clone());
    assert_eq!(letter.reason, Some(Reason::TooLarge));
    assert_eq!(letter.value_dropped, Some(LARGE as u64));
    assert!(started.elapsed() < Duration::from_secs(30));
    instance.stop().await.unwrap();
}
