//! What stopped the pipeline once, each against the real services: they live, within the memory that compose gives them;
//! the offender is a dead letter; the images beside it have results.

use crate::deployment::{Deployment, Service, file};
use sightline_contracts::{Reason, Topic};
use sightline_stream::{Message, Publisher, admin::DeadLetter};
use sightline_testkit::{Bootstrap, batch::Raw, children, hostile, peak_memory};

/// What compose gives preprocess, its decoders included.
const PREPROCESS_MAY: u64 = 2 << 30;
/// What compose gives ingest.
const INGEST_MAY: u64 = 256 << 20;

/// Good images that go in before and after the offender.
const NEIGHBOURS: usize = 6;

/// Lets `offend` do its worst between good images; gives the dead letters, `dead` of them, once the images have their
/// results, and what of the offence turned out harmless has, too: `more` of them.
async fn beside(
    test: &str,
    (dead, more): (usize, usize),
    offend: impl AsyncFnOnce(&Deployment),
) -> Vec<DeadLetter> {
    let deployment = Deployment::start(test).await;
    let mut services = deployment.services(|_| Vec::new());
    let good = file("samples/bus__0018.jpg");
    let put = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let key = format!("good-{number}.jpg");
            deployment.put(&key, good.clone()).await;
        }
    };
    put(0..NEIGHBOURS / 2).await;
    offend(&deployment).await;
    put(NEIGHBOURS / 2..NEIGHBOURS).await;
    let results = deployment.await_results(NEIGHBOURS + more);
    let letters = deployment.await_dead_letters(dead);
    assert_eq!(
        (results.len(), letters.len()),
        (NEIGHBOURS + more, dead),
        "{letters:?}"
    );
    let good = results.keys().filter(|key| key.starts_with("good-"));
    assert_eq!(good.count(), NEIGHBOURS);
    for service in &mut services {
        assert!(service.process.ended().is_none(), "a service has ended");
    }
    let [ingest, preprocess, ..] = &services[..] else {
        panic!("four services")
    };
    let taken = peak(preprocess);
    println!(
        "{test}: preprocess and its decoders took {} MiB at most, each at its peak",
        taken >> 20
    );
    assert!(taken < PREPROCESS_MAY, "{taken}");
    let taken = peak(ingest);
    println!("{test}: ingest took {} MiB at most", taken >> 20);
    assert!(taken < INGEST_MAY, "{taken}");
    services.into_iter().for_each(Service::stop);
    letters
}

/// The largest resident memory so far of a service and of the processes that it has started and that live, in bytes.
fn peak(service: &Service) -> u64 {
    let own = service.process.pid();
    let all = std::iter::once(own).chain(children(own));
    all.filter_map(peak_memory).sum()
}

/// The decoder that allocates passes the segment over, and what it finds behind is an ordinary photo.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_header_within_a_segment_does_not_take_five_gigabytes() {
    let put = async |deployment: &Deployment| {
        let base = file("samples/bus__0018.jpg");
        let jpeg = hostile::tem_huge_jpeg(&base);
        deployment.put("tem.jpg", jpeg.into()).await;
    };
    beside("tem", (0, 1), put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_five_thousand_huffman_groups_cost_their_own_webp() {
    let put = async |deployment: &Deployment| {
        let webp = hostile::huffman_bomb_webp(65_536);
        deployment.put("huffman.webp", webp.into()).await;
    };
    let letters = beside("huffman", (1, 0), put).await;
    assert_eq!(letters[0].reason, Some(Reason::DecodeLimit));
    assert_eq!(letters[0].stage.as_deref(), Some("preprocess"));
}

/// The pictures that are ones, but for what goes along with them.
#[tokio::test(flavor = "multi_thread")]
async fn profiles_and_exif_without_end_are_passed_over() {
    let put = async |deployment: &Deployment| {
        let png = hostile::inflating_profile_png(560);
        deployment.put("profile.png", png.into()).await;
        let webp = hostile::endless_exif_webp();
        deployment.put("exif.webp", webp.into()).await;
    };
    beside("metadata", (0, 2), put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_name_that_is_not_utf8_stops_no_service_and_no_tool() {
    let produce = async |deployment: &Deployment| {
        let bootstrap = Bootstrap::new(deployment.kafka.bootstrap.clone());
        let topic = deployment.topic(Topic::Ingest);
        let odd = Raw {
            key: b"k",
            value: b"{}",
            headers: &[(b"\xff", b"1")],
        };
        tokio::task::block_in_place(|| odd.produce(&bootstrap, &topic, 0)).unwrap();
        deployment.await_dead_letters(1);
        let listed = deployment.tool(&["dead-letters", "list"]);
        assert!(listed.status.success(), "{listed:?}");
    };
    let letters = beside("misnamed", (1, 0), produce).await;
    assert_eq!(letters[0].reason, Some(Reason::Malformed));
}

/// Their thumbnails' keys were too long for S3, and kept the others' waiting.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_thousand_bytes_hold_up_no_thumbnail() {
    const LONG: usize = 24;
    let put = async |deployment: &Deployment| {
        let image = file("samples/stop__0023.jpg");
        for number in 0..LONG {
            let key = format!("{number:03}/{}", vec!["k".repeat(199); 5].join("/"));
            assert!(key.len() > 1003 - 1 && key.len() <= 1024, "{}", key.len());
            deployment.put(&key, image.clone()).await;
        }
    };
    beside("long-keys", (0, LONG), put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_megabytes_of_zeros_in_a_few_kilobytes_are_one_dead_letter() {
    let publish = async |deployment: &Deployment| {
        let mut kafka = deployment.kafka.clone();
        kafka.property = vec!["compression.codec=gzip".parse().unwrap()];
        let zeros = vec![0; 12 << 20];
        let message = Message::new(deployment.topic(Topic::Ingest), "k", zeros);
        Publisher::new(&kafka)
            .unwrap()
            .send(&message)
            .await
            .unwrap();
    };
    let letters = beside("zeros", (1, 0), publish).await;
    assert_eq!(letters[0].reason, Some(Reason::Malformed));
    assert_eq!(letters[0].value_dropped, Some(12 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_of_very_many_bad_records_is_one_dead_letter() {
    let publish = async |deployment: &Deployment| {
        let many = format!(r#"{{"Records":[{}{{}}]}}"#, "{},".repeat(300_000));
        deployment.publish(Topic::Ingest, many).await;
    };
    let letters = beside("many", (1, 0), publish).await;
    assert_eq!(letters[0].stage.as_deref(), Some("ingest"));
    let error = letters[0].error.as_deref().unwrap();
    assert!(error.contains("--max-records"), "{error}");
}
