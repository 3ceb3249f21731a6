//! What stopped the pipeline once, each against the real services: they live, within the memory that compose gives them;
//! the offender is a dead letter; the images beside it have results.

use crate::deployment::{BUCKET, Deployment, Service, file};
use bytes::Bytes;
use sightline_contracts::{Reason, Topic};
use sightline_storage::Objects as _;
use sightline_stream::admin::DeadLetter;
use sightline_testkit::hostile;
use std::{fs, io::Write as _};

/// What compose gives preprocess, its decoders included.
const PREPROCESS_MAY: u64 = 2 << 30;
/// What compose gives ingest.
const INGEST_MAY: u64 = 512 << 20;

/// Good images that go in before and after the offender.
const NEIGHBOURS: usize = 6;

/// Lets `offend` do its worst between good images; gives the dead letters once all others have their results.
async fn beside<F: AsyncFnOnce(&Deployment)>(
    test: &str,
    dead: usize,
    offend: F,
) -> Vec<DeadLetter> {
    let deployment = Deployment::start(test).await;
    let mut services = deployment.services(|_| Vec::new());
    let good = file("samples/bus__0018.jpg");
    for number in 0..NEIGHBOURS {
        if number == NEIGHBOURS / 2 {
            offend(&deployment).await;
        }
        deployment.put(&format!("good-{number}.jpg"), good.clone()).await;
    }
    let letters = deployment.await_dead_letters(dead);
    let results = deployment.await_results(NEIGHBOURS);
    assert_eq!(letters.len(), dead, "{letters:?}");
    assert!(results.keys().all(|key| key.starts_with("good-")), "{results:?}");
    for service in &mut services {
        assert!(service.process.ended().is_none(), "a service has ended");
    }
    let [ingest, preprocess, ..] = &services[..] else {
        panic!("four services")
    };
    let taken = peak(preprocess);
    println!("{test}: preprocess and its decoders took {} MiB at most, each at its peak", taken >> 20);
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
    let tasks = fs::read_dir(format!("/proc/{own}/task")).unwrap();
    let children = tasks.flat_map(|task| {
        let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap();
        let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
        pids.collect::<Vec<u32>>()
    });
    let all = std::iter::once(own).chain(children);
    all.filter_map(high_water).sum()
}

fn high_water(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

async fn picture(test: &str, name: &str, bytes: Vec<u8>) -> DeadLetter {
    let put = async |deployment: &Deployment| deployment.put(name, bytes.into()).await;
    let mut letters = beside(test, 1, put).await;
    let letter = letters.remove(0);
    assert_eq!(letter.stage.as_deref(), Some("preprocess"));
    println!("{test}: {:?}: {:?}", letter.reason.unwrap(), letter.error);
    letter
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_header_within_a_segment_does_not_take_five_gigabytes() {
    let base = file("samples/bus__0018.jpg");
    let letter = picture("tem", "tem_huge.jpg", hostile::tem_huge_jpeg(&base)).await;
    let reason = letter.reason.unwrap();
    let refused = [Reason::TooManyPixels, Reason::Corrupt, Reason::UnsupportedFormat];
    assert!(refused.contains(&reason), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_five_thousand_huffman_groups_cost_their_own_webp() {
    let letter = picture("huffman", "huff.webp", hostile::huffman_bomb_webp(65_536)).await;
    assert_eq!(letter.reason, Some(Reason::DecodeLimit));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_inflates_is_not_inflated() {
    let put = async |deployment: &Deployment| {
        let png = hostile::inflating_profile_png(560);
        deployment.put("good-profile.png", png.into()).await;
        deployment.await_results(1);
    };
    // The picture itself is one: it has a result like its neighbours.
    let letters = beside("profile", 0, put).await;
    assert!(letters.is_empty());
}
