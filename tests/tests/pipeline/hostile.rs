//! Hostile inputs that once stopped the pipeline, against the real services. The services keep running within the memory
//! that Compose gives them, the hostile input becomes a dead letter, and the other images have results.

use crate::deployment::{Deployment, Service, file};
use sightline_contracts::{Reason, Topic};
use sightline_stream::{Message, Publisher, admin::DeadLetter};
use sightline_testkit::{Bootstrap, batch::Raw, children, hostile, peak_memory};

/// The memory that Compose gives preprocess and its decoders, in bytes.
const PREPROCESS_MEMORY: u64 = 2 << 30;
/// The memory that Compose gives ingest, in bytes.
const INGEST_MEMORY: u64 = 256 << 20;

/// Good images that are put before and after the hostile input.
const GOOD: usize = 6;

/// Calls `attack` between two batches of good images, and waits until the good images and `more` of the attack's own have
/// results. Returns the dead letters, of which there must be `dead`.
async fn among_good_images(
    test: &str,
    (dead, more): (usize, usize),
    attack: impl AsyncFnOnce(&Deployment),
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
    put(0..GOOD / 2).await;
    attack(&deployment).await;
    put(GOOD / 2..GOOD).await;
    let results = deployment.await_results(GOOD + more);
    let letters = deployment.await_dead_letters(dead);
    assert_eq!(
        (results.len(), letters.len()),
        (GOOD + more, dead),
        "{letters:?}"
    );
    let good = results.keys().filter(|key| key.starts_with("good-"));
    assert_eq!(good.count(), GOOD);
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
    assert!(taken < PREPROCESS_MEMORY, "{taken}");
    let taken = peak(ingest);
    println!("{test}: ingest took {} MiB at most", taken >> 20);
    assert!(taken < INGEST_MEMORY, "{taken}");
    services.into_iter().for_each(Service::stop);
    letters
}

/// The sum of the largest resident memory of a service and of its running child processes, in bytes.
fn peak(service: &Service) -> u64 {
    let own = service.process.pid();
    let all = std::iter::once(own).chain(children(own));
    all.filter_map(peak_memory).sum()
}

/// The decoder skips the segment and decodes the ordinary photo after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_header_within_a_segment_does_not_take_five_gigabytes() {
    let put = async |deployment: &Deployment| {
        let base = file("samples/bus__0018.jpg");
        let jpeg = hostile::tem_huge_jpeg(&base);
        deployment.put("tem.jpg", jpeg.into()).await;
    };
    among_good_images("tem", (0, 1), put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webp_with_65536_huffman_groups_is_one_dead_letter() {
    let put = async |deployment: &Deployment| {
        let webp = hostile::huffman_bomb_webp(65_536);
        deployment.put("huffman.webp", webp.into()).await;
    };
    let letters = among_good_images("huffman", (1, 0), put).await;
    assert_eq!(letters[0].reason, Some(Reason::DecodeLimit));
    assert_eq!(letters[0].stage.as_deref(), Some("preprocess"));
}

/// The pictures are valid, only their metadata is hostile.
#[tokio::test(flavor = "multi_thread")]
async fn endless_profiles_and_exif_are_skipped() {
    let put = async |deployment: &Deployment| {
        let png = hostile::inflating_profile_png(560);
        deployment.put("profile.png", png.into()).await;
        let webp = hostile::endless_exif_webp();
        deployment.put("exif.webp", webp.into()).await;
    };
    among_good_images("metadata", (0, 2), put).await;
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
    let letters = among_good_images("misnamed", (1, 0), produce).await;
    assert_eq!(letters[0].reason, Some(Reason::Malformed));
}

/// Without cutting, their thumbnails' keys would be too long for S3.
#[tokio::test(flavor = "multi_thread")]
async fn images_with_keys_of_a_thousand_bytes_have_thumbnails() {
    const LONG: usize = 24;
    let put = async |deployment: &Deployment| {
        let image = file("samples/stop__0023.jpg");
        for number in 0..LONG {
            let key = format!("{number:03}/{}", vec!["k".repeat(199); 5].join("/"));
            assert!(key.len() > 1003 - 1 && key.len() <= 1024, "{}", key.len());
            deployment.put(&key, image.clone()).await;
        }
    };
    among_good_images("long-keys", (0, LONG), put).await;
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
    let letters = among_good_images("zeros", (1, 0), publish).await;
    assert_eq!(letters[0].reason, Some(Reason::Malformed));
    assert_eq!(letters[0].value_dropped, Some(12 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_of_very_many_bad_records_is_one_dead_letter() {
    let publish = async |deployment: &Deployment| {
        let many = format!(r#"{{"Records":[{}{{}}]}}"#, "{},".repeat(300_000));
        deployment.publish(Topic::Ingest, many).await;
    };
    let letters = among_good_images("many", (1, 0), publish).await;
    assert_eq!(letters[0].stage.as_deref(), Some("ingest"));
    let error = letters[0].error.as_deref().unwrap();
    assert!(error.contains("--max-records"), "{error}");
}
