//! A pool of threads that decode images, behind a bounded queue, so that tokio's threads never wait for a decoder. Each
//! thread has equipment of its own, such as a decoder.

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

/// The threads and their queue. Dropping it waits until the threads have finished their work.
pub(crate) struct Pool<T> {
    jobs: Option<mpsc::Sender<Job<T>>>,
    threads: Vec<JoinHandle<()>>,
    queued: Gauge,
}

/// The work panicked. The thread takes further work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl<T: 'static> Pool<T> {
    /// Starts the threads. At most `queue` jobs wait for a thread; `queued` shows how many wait or run. `equip` makes a
    /// thread's equipment, on that thread.
    pub(crate) fn start(
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

    /// Waits for space in the queue and then for a thread. Returns when the work begins; [`Begun::ended`] waits for its
    /// end. If this future is dropped before the work begins, the work is skipped.
    pub(crate) async fn begin<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<Begun<R>, Panicked> {
        let (begin, begun) = oneshot::channel();
        let (answer, result) = oneshot::channel();
        let queued = self.queued.clone();
        queued.inc();
        let counted = Queued(queued);
        let job = move |equipment: &mut T| {
            if begin.send(()).is_ok() {
                // A panic drops `answer`, and the waiting side receives `Panicked`.
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
            _counted: counted,
        })
    }
}

/// Work that a thread has begun.
pub(crate) struct Begun<R> {
    result: oneshot::Receiver<R>,
    _counted: Queued,
}

impl<R> Begun<R> {
    pub(crate) async fn ended(self) -> Result<R, Panicked> {
        self.result.await.map_err(|_| Panicked)
    }
}

/// Counts a job as queued until this is dropped.
struct Queued(Gauge);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The next job. One idle thread waits for the queue, the others wait for the lock.
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
    async fn work_that_was_given_up_is_skipped() {
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
