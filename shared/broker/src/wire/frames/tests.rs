use super::*;
use bytes::BufMut;
use std::{future::poll_fn, pin::Pin, task::Poll};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
};

const TIMES: Times = Times {
    frame: Duration::from_secs(30),
    idle: Duration::from_mins(10),
};

fn connect() -> (DuplexStream, Frames<DuplexStream>) {
    let (client, server) = duplex(1 << 20);
    (client, Frames::new(server, TIMES))
}

/// The first bytes of a frame of a `Produce` that says it has `length`, of which `sent` follow.
fn begun(length: usize, sent: usize) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(u32::try_from(length).unwrap());
    out.resize(4 + sent, 0);
    out
}

#[tokio::test(start_paused = true)]
async fn frames_come_as_they_were_sent() {
    let budget = Budget::default();
    let (mut client, mut frames) = connect();
    let sizes = [0, 1, 5000, FREE, FREE + 1, 3, MAX_OTHER + 1, 5 << 20, 7];
    let sending = async move {
        for size in sizes {
            client.write_all(&begun(size, size)).await.unwrap();
        }
    };
    let reading = async {
        for size in sizes {
            let frame = frames.next(&budget).await.unwrap().unwrap();
            assert_eq!(frame.bytes.len(), size);
        }
        assert!(frames.next(&budget).await.unwrap().is_none(), "the end");
    };
    tokio::join!(sending, reading);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_never_ends_is_dropped_at_its_deadline() {
    let budget = Budget::default();
    for sent in [0, 1, 100_000] {
        let (mut client, mut frames) = connect();
        let bytes = begun(1 << 20, sent);
        // The first of them in the middle of the length.
        client.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
        let start = tokio::time::Instant::now();
        let ended = frames.next(&budget).await.unwrap_err();
        assert_eq!(start.elapsed(), TIMES.frame, "{sent} bytes");
        assert!(ended.to_string().contains("not whole within 30s"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_in_drops_is_dropped_at_its_deadline_too() {
    let budget = Budget::default();
    let (mut client, mut frames) = connect();
    let start = tokio::time::Instant::now();
    let dripping = async {
        client.write_all(&begun(1000, 0)).await.unwrap();
        while client.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        ended = frames.next(&budget) => assert!(ended.is_err()),
        () = dripping => panic!("the reader is still there"),
    }
    assert_eq!(start.elapsed(), TIMES.frame);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_lives_for_ten_minutes_between_frames() {
    let budget = Budget::default();
    let (mut client, mut frames) = connect();
    for silence in [0, 599] {
        let sending = async {
            tokio::time::sleep(Duration::from_secs(silence)).await;
            client.write_all(&[0, 0, 0, 1, 7]).await
        };
        let (sent, frame) = tokio::join!(sending, frames.next(&budget));
        sent.unwrap();
        assert_eq!(&frame.unwrap().unwrap().bytes[..], [7]);
    }
    let start = tokio::time::Instant::now();
    assert!(frames.next(&budget).await.unwrap().is_none());
    assert_eq!(start.elapsed(), TIMES.idle);
}

#[tokio::test]
async fn a_frame_takes_no_memory_for_what_its_length_announces() {
    let budget = Budget::default();
    let (mut client, mut frames) = connect();
    let sent = 100_000;
    client.write_all(&begun(MAX_PRODUCE, sent)).await.unwrap();
    {
        let mut next = std::pin::pin!(frames.next(&budget));
        for _ in 0..10 {
            let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            yield_now().await;
        }
    }
    assert_eq!(frames.input.len(), sent);
    assert!(
        frames.input.capacity() <= 3 * sent,
        "{}",
        frames.input.capacity()
    );
}

#[tokio::test(start_paused = true)]
async fn only_records_make_a_request_large() {
    let budget = Budget::default();
    for (length, key, taken) in [
        (MAX_PRODUCE, 0, true),
        (MAX_PRODUCE + 1, 0, false),
        (MAX_OTHER, 3, true),
        (MAX_OTHER + 1, 3, false),
        (u32::MAX as usize, 0, false),
    ] {
        let (mut client, mut frames) = connect();
        let mut bytes = begun(length, 2);
        bytes[5] = key;
        client.write_all(&bytes).await.unwrap();
        let ended = frames.next(&budget).await.unwrap_err().to_string();
        assert_eq!(
            ended.contains("not whole"),
            taken,
            "{length} of {key}: {ended}"
        );
        assert_eq!(
            ended.contains("are allowed"),
            !taken,
            "{length} of {key}: {ended}"
        );
    }
}

/// A connection that announces `length` bytes, sends `sent` of them and no more, as far as the broker has read it.
async fn stalled(
    budget: &Budget,
    length: usize,
    sent: usize,
) -> (DuplexStream, Pin<Box<Next<'_>>>) {
    let (mut client, server) = duplex(4 + sent);
    client.write_all(&begun(length, sent)).await.unwrap();
    let mut next: Pin<Box<Next>> = Box::pin(async move {
        Frames::new(server, TIMES)
            .next(budget)
            .await
            .map(|f| f.is_some())
    });
    // A task gives way now and then, with bytes still to read.
    for _ in 0..10 {
        let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        yield_now().await;
    }
    (client, next)
}

type Next<'a> = dyn Future<Output = anyhow::Result<bool>> + 'a;

/// How long a frame of this size takes on a connection of its own.
async fn time_for(budget: &Budget, size: usize) -> Duration {
    let (mut client, mut frames) = connect();
    let start = tokio::time::Instant::now();
    let bytes = begun(size, size);
    let reading = async {
        let frame = frames.next(budget).await.unwrap().unwrap();
        assert_eq!(frame.bytes.len(), size);
    };
    let (sent, ()) = tokio::join!(client.write_all(&bytes), reading);
    sent.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn slow_connections_do_not_starve_the_others() {
    let budget = Budget::of(32 << 10);
    let mut slow = Vec::new();
    for _ in 0..300 {
        slow.push(stalled(&budget, MAX_PRODUCE, FREE + 1000).await);
    }
    assert_eq!(time_for(&budget, 5 << 20).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn where_the_pool_is_used_up_one_frame_at_a_time_is_read_beside_it() {
    let budget = Budget::of(1536);
    let stuck = stalled(&budget, MAX_PRODUCE, 900 << 10).await;
    assert_eq!(time_for(&budget, 5 << 20).await, Duration::ZERO);
    assert_eq!(time_for(&budget, 6 << 20).await, Duration::ZERO);
    let last = stalled(&budget, MAX_PRODUCE, 2 << 20).await;
    assert_eq!(
        time_for(&budget, FREE).await,
        Duration::ZERO,
        "small ones need no budget"
    );
    // A large one waits until the time of the slow ones is up.
    let later = Duration::from_secs(1);
    tokio::time::advance(later).await;
    let (waited, stuck, last) = tokio::join!(time_for(&budget, 5 << 20), stuck.1, last.1);
    assert!(stuck.is_err() && last.is_err());
    assert_eq!(waited, TIMES.frame - later);
}

#[tokio::test(start_paused = true)]
async fn frames_that_wait_for_each_others_room_all_end() {
    let budget = Budget::of(8 << 10);
    let start = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let budget = std::sync::Arc::new(budget);
    for _ in 0..20 {
        let budget = budget.clone();
        tasks.spawn(async move { time_for(&budget, 4 << 20).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}
