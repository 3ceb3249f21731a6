//! Threads for pixels: sized, named, behind a bounded queue, so that decoding never stalls the reactor. Each has something
//! of its own that its work is done with.

use anyhow::Context;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc, oneshot};

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Dropping it lets the threads finish what they do and waits for them.
pub(crate) struct Pool<T> {
    jobs: Option<mpsc::Sender<Job<T>>>,
    threads: Vec<JoinHandle<()>>,
    queued: Gauge,
}

/// The work panicked; the thread goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl<T: 'static> Pool<T> {
    /// `queue` jobs may wait for a thread; `queued` shows how many wait or run. `equip` makes what a thread has of its own,
    /// on that thread.
    pub fn start(
        threads: NonZero<usize>,
        queue: NonZero<usize>,
        queued: Gauge,
        equip: impl Fn() -> T + Send + Clone + 'static,
    ) -> anyhow::Result<Self> {
        let (jobs, receiver) = mpsc::channel::<Job<T>>(queue.get());
        let receiver = Arc::new(Mutex::new(receiver));
        let work = |number| {
            let receiver = Arc::clone(&receiver);
            let equip = equip.clone();
            let name = format!("pixels-{number}");
            thread::Builder::new().name(name).spawn(move || {
                let mut equipment = equip();
                while let Some(job) = next(&receiver) {
                    job(&mut equipment)
                }
            })
        };
        let threads = (0..threads.get())
            .map(work)
            .collect::<Result<_, _>>()
            .context("can't start a thread")?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
            queued,
        })
    }

    /// Waits for a free place in the queue and then for a thread; returns when the work begins, with what waits for its
    /// end. Work nobody waits for any longer is not begun.
    pub async fn begin<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<Begun<R>, Panicked> {
        let (begin, begun) = oneshot::channel();
        let (answer, result) = oneshot::channel();
        let queued = self.queued.clone();
        queued.inc();
        let place = Place(queued);
        let job = move |equipment: &mut T| {
            if begin.send(()).is_ok() {
                // A panic drops the answer, which tells the one who waits.
                let _ = catch_unwind(AssertUnwindSafe(|| answer.send(work(equipment))));
            }
        };
        if let Some(jobs) = &self.jobs
            && jobs.send(Box::new(job)).await.is_err()
        {
            return Err(Panicked);
        }
        begun.await.map_err(|_| Panicked)?;
        Ok(Begun {
            result,
            _place: place,
        })
    }
}

/// Work that a thread does.
pub(crate) struct Begun<R> {
    result: oneshot::Receiver<R>,
    _place: Place,
}

impl<R> Begun<R> {
    pub async fn ended(self) -> Result<R, Panicked> {
        self.result.await.map_err(|_| Panicked)
    }
}

/// Counts a job down however its waiting ends.
struct Place(Gauge);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One idle thread waits in the queue, the others for the lock.
fn next<T>(receiver: &Mutex<mpsc::Receiver<Job<T>>>) -> Option<Job<T>> {
    receiver.lock().blocking_recv()
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as std_mpsc;

    fn pool(threads: usize, queue: usize) -> Pool<()> {
        let count = |n| NonZero::new(n).unwrap();
        Pool::start(count(threads), count(queue), Gauge::default(), || ()).unwrap()
    }

    async fn run<R: Send + 'static>(
        pool: &Pool<()>,
        work: impl FnOnce(&mut ()) -> R + Send + 'static,
    ) -> Result<R, Panicked> {
        pool.begin(work).await?.ended().await
    }

    #[tokio::test]
    async fn threads_have_names_and_survive_panics() {
        let pool = pool(1, 1);
        assert_eq!(
            run(&pool, |_| panic!("on purpose")).await,
            Err::<(), _>(Panicked)
        );
        let name = run(&pool, |_| thread::current().name().map(str::to_owned)).await;
        assert_eq!(name, Ok(Some("pixels-0".to_owned())));
        assert_eq!(pool.queued.get(), 0);
    }

    #[tokio::test]
    async fn work_nobody_waits_for_is_not_begun() {
        let pool = pool(1, 4);
        let (go, gate) = std_mpsc::sync_channel::<()>(1);
        let (begun, order) = std_mpsc::sync_channel(2);
        let first = begun.clone();
        let mut busy = Box::pin(run(&pool, move |_| {
            let _ = gate.recv();
            let _ = first.send("first");
        }));
        let mut given_up = Box::pin(run(&pool, move |_| begun.send("given up").is_ok()));
        assert!(futures::poll!(&mut busy).is_pending());
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        go.send(()).unwrap();
        busy.await.unwrap();
        drop(pool);
        assert_eq!(order.iter().collect::<Vec<_>>(), ["first"]);
    }
}
