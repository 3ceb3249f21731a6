//! A thread pool that runs the stages of a job one after the other.
//!
//! A job is a list of stages, each a number of chunks. Threads claim chunks one by one; no chunk of a stage starts before
//! all of the stage before are done. A thread claims the same share of each stage first, so that it finds its own output
//! of the stage before in its cache, and then chunks of the others. The caller computes too, so a job never waits for a
//! worker that has no core. Waiting threads spin for some microseconds, then yield, then sleep, so that two pools on one
//! machine don't starve each other.

use crate::cut::part;
use parking_lot::{Condvar, Mutex};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Spins of a waiting thread before it yields: some 20 µs.
const SPINS: usize = 512;
/// Yields of a waiting thread before it sleeps.
const YIELDS: usize = 16;

/// A thread pool of a fixed size, the caller included. One job runs at a time.
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

/// The chunks of one stage.
pub(crate) struct Stage {
    chunks: usize,
    /// For each thread, how many of its own chunks are claimed.
    claimed: Box<[AtomicUsize]>,
    finished: AtomicUsize,
    /// Nanoseconds from the job's start to the stage's end.
    ended: AtomicU64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A job has come, or the pool stops.
    called: Condvar,
    /// A worker has left the job.
    left: Condvar,
    /// A stage has been finished while a thread slept.
    finished: Condvar,
    sleeping: Mutex<()>,
    sleepers: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    number: u64,
    inside: usize,
    stopping: bool,
}

#[derive(Clone, Copy)]
struct Job {
    start: Instant,
    stages: &'static [Stage],
    work: &'static (dyn Fn(usize, usize) + Sync),
}

impl Stage {
    /// A stage of `chunks` chunks for `threads` threads.
    pub(crate) fn new(chunks: usize, threads: usize) -> Self {
        Self {
            chunks,
            claimed: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
            finished: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// The time of each stage of the last job, from the end of the stage before.
    pub(crate) fn times(stages: &[Self]) -> impl Iterator<Item = Duration> {
        let mut last = 0;
        stages.iter().map(move |stage| {
            let ended = stage.ended.load(Ordering::SeqCst);
            let time = ended.saturating_sub(last);
            last = ended.max(last);
            Duration::from_nanos(time)
        })
    }

    /// An unclaimed chunk: of the thread's own share while it has any, then of the others'.
    fn claim(&self, thread: usize) -> Option<usize> {
        let threads = self.claimed.len();
        (0..threads).find_map(|further| {
            let whose = (thread + further) % threads;
            let chunks = part(self.chunks, threads, whose);
            // Checked first, so that each thread that comes too late raises the count by at most one.
            let claimed = &self.claimed[whose];
            let left = claimed.load(Ordering::Relaxed) < chunks.len();
            let chunk = left.then(|| chunks.start + claimed.fetch_add(1, Ordering::Relaxed))?;
            (chunk < chunks.end).then_some(chunk)
        })
    }

    fn done(&self) -> bool {
        self.finished.load(Ordering::SeqCst) >= self.chunks
    }
}

impl Threads {
    /// A pool of `count` threads: the caller and `count - 1` workers that sleep between jobs.
    ///
    /// If the system refuses a thread, the pool is smaller; [`Threads::count`] is its size.
    pub fn new(count: usize) -> Arc<Self> {
        let shared = Arc::new(Shared::default());
        let workers = (1..count)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("convolution-{i}"))
                    .spawn(move || shared.serve(i))
                    .ok()
            })
            .collect();
        Arc::new(Self {
            shared,
            workers,
            turn: Mutex::new(()),
        })
    }

    /// Threads that take part in a job, the caller included.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(stage, chunk)` once for each chunk of each stage and returns when all are done.
    /// [`Stage::times`] then returns the time of each.
    ///
    /// # Panics
    /// With the panic of a chunk, after all chunks have run.
    pub(crate) fn run(&self, stages: &[Stage], work: &(dyn Fn(usize, usize) + Sync)) {
        let _turn = self.turn.lock();
        for stage in stages {
            for claimed in &stage.claimed {
                claimed.store(0, Ordering::SeqCst);
            }
            stage.finished.store(0, Ordering::SeqCst);
            stage.ended.store(0, Ordering::SeqCst);
        }
        // SAFETY: only the lifetimes change. Workers see the job only between here and the end of this
        // function, which neither returns nor unwinds before each of them has left it (`retire`).
        let job: Job = unsafe {
            Job {
                start: Instant::now(),
                stages: std::mem::transmute::<&[Stage], &'static [Stage]>(stages),
                work: std::mem::transmute::<
                    &(dyn Fn(usize, usize) + Sync),
                    &'static (dyn Fn(usize, usize) + Sync),
                >(work),
            }
        };
        self.shared.announce(job);
        self.shared.take_part(job, 0);
        self.shared.retire();
        if let Some(panic) = self.shared.panic.lock().take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.called.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of chunks; it has nothing else to report.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn announce(&self, job: Job) {
        let mut state = self.state.lock();
        state.job = Some(job);
        state.number += 1;
        drop(state);
        self.called.notify_all();
    }

    /// Withdraws the job and waits until no worker runs it.
    fn retire(&self) {
        let mut state = self.state.lock();
        state.job = None;
        while state.inside > 0 {
            self.left.wait(&mut state);
        }
    }

    /// Runs jobs until the pool stops.
    fn serve(&self, thread: usize) {
        let mut last = 0;
        let mut state = self.state.lock();
        while !state.stopping {
            match state.job {
                Some(job) if state.number != last => {
                    last = state.number;
                    state.inside += 1;
                    drop(state);
                    self.take_part(job, thread);
                    state = self.state.lock();
                    state.inside -= 1;
                    self.left.notify_all();
                }
                _ => {
                    self.called.wait(&mut state);
                }
            }
        }
    }

    fn take_part(&self, job: Job, thread: usize) {
        for (number, stage) in job.stages.iter().enumerate() {
            while let Some(chunk) = stage.claim(thread) {
                let work = AssertUnwindSafe(|| (job.work)(number, chunk));
                if let Err(panic) = catch_unwind(work) {
                    self.panic.lock().get_or_insert(panic);
                }
                self.count_finished(stage, job.start);
            }
            self.wait_for(stage);
        }
    }

    fn count_finished(&self, stage: &Stage, start: Instant) {
        // The largest time is that of the last chunk.
        let ended = start.elapsed().as_nanos() as u64;
        stage.ended.fetch_max(ended, Ordering::Relaxed);
        let before = stage.finished.fetch_add(1, Ordering::SeqCst);
        if before + 1 == stage.chunks && self.sleepers.load(Ordering::SeqCst) > 0 {
            // Under the lock: a thread that is about to sleep has either seen the count or is notified.
            let _sleeping = self.sleeping.lock();
            self.finished.notify_all();
        }
    }

    fn wait_for(&self, stage: &Stage) {
        for _ in 0..SPINS {
            if stage.done() {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if stage.done() {
                return;
            }
            std::thread::yield_now();
        }
        let mut sleeping = self.sleeping.lock();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !stage.done() {
            self.finished.wait(&mut sleeping);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(sleeping);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_runs_once_and_stages_in_turn() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count);
            assert_eq!(threads.count(), count);
            let stages: Vec<Stage> = [7, 1, 0, 64, 3]
                .into_iter()
                .map(|chunks| Stage::new(chunks, count))
                .collect();
            for _ in 0..200 {
                let seen: Vec<AtomicUsize> = stages.iter().map(|_| AtomicUsize::new(0)).collect();
                threads.run(&stages, &|stage, _| {
                    for (earlier, s) in seen.iter().zip(&stages).take(stage) {
                        assert_eq!(earlier.load(Ordering::SeqCst), s.chunks);
                    }
                    seen[stage].fetch_add(1, Ordering::SeqCst);
                });
                for (count, stage) in seen.iter().zip(&stages) {
                    assert_eq!(count.load(Ordering::SeqCst), stage.chunks);
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let threads = Threads::new(3);
        let stages = [Stage::new(8, 3), Stage::new(8, 3)];
        let done = AtomicUsize::new(0);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            threads.run(&stages, &|stage, chunk| {
                assert!((stage, chunk) != (0, 5), "planted");
                done.fetch_add(1, Ordering::SeqCst);
            });
        }));
        assert!(failed.is_err());
        assert_eq!(done.load(Ordering::SeqCst), 15);
        threads.run(&stages, &|_, _| {
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.load(Ordering::SeqCst), 31);
    }

    #[test]
    fn slow_chunks_let_the_others_sleep() {
        let threads = Threads::new(4);
        let stages = [1, 4, 1].map(|chunks| Stage::new(chunks, 4));
        let done = AtomicUsize::new(0);
        threads.run(&stages, &|_, _| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.load(Ordering::SeqCst), 6);
    }
}
