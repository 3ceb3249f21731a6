//! The thread of an engine and its queue.

use super::batch::{Batch, BatchSettings, Error, Prediction, top};
use crate::Input;
use bytes::Bytes;
use sightline_manifest::Pixels;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tracing::Span;

struct Job {
    input: Input,
    queued: Instant,
    reply: oneshot::Sender<Result<Prediction, Error>>,
    /// The caller's span, to which the batch's span is linked.
    caller: Span,
}

/// The thread and its queue.
pub(super) struct Worker {
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The logits of each image, or the text of an error.
type Logits = Result<Vec<Vec<f32>>, String>;

impl Worker {
    pub(super) fn start(
        logits: impl Fn(&[Input]) -> Logits + Send + 'static,
        shape: [usize; 3],
        settings: BatchSettings,
        observe: impl Fn(Batch) + Send + 'static,
    ) -> Result<Self, Error> {
        let (queue, jobs) = mpsc::channel(settings.max_queue.max(1));
        let (warm, is_warm) = std::sync::mpsc::sync_channel(1);
        let body = move || {
            let outcome = warm_up(&logits, shape, settings.max_batch);
            let usable = outcome.is_ok();
            if warm.send(outcome).is_ok() && usable {
                work(&logits, settings, jobs, observe);
            }
        };
        let thread = thread::Builder::new().name("model".to_owned()).spawn(body);
        let thread =
            thread.map_err(|error| Error::Failed(format!("no thread for the model: {error}")))?;
        is_warm.recv().map_err(|_| Error::Stopped)??;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Images in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Whether the thread still accepts images.
    pub(super) fn alive(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_closed())
    }

    pub(super) async fn classify(&self, input: Input) -> Result<Prediction, Error> {
        let queue = self.queue.as_ref().ok_or(Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            input,
            queued: Instant::now(),
            reply,
            caller: Span::current(),
        };
        queue.send(job).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic outside a batch has already reached every caller as `Stopped`.
            let _ = thread.join();
        }
    }
}

fn work(
    logits: &impl Fn(&[Input]) -> Logits,
    settings: BatchSettings,
    mut jobs: mpsc::Receiver<Job>,
    observe: impl Fn(Batch),
) {
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let Ok(clock) =
        clock.inspect_err(|error| tracing::error!(%error, "no timer for the model's thread"))
    else {
        return;
    };
    while let Some(mut batch) = clock.block_on(gather(&mut jobs, settings)) {
        batch.retain(|job| !job.reply.is_closed());
        if !batch.is_empty() {
            compute(logits, settings.top_k, batch, &observe);
        }
    }
}

/// The next batch; `None` when the engine stops.
async fn gather(jobs: &mut mpsc::Receiver<Job>, settings: BatchSettings) -> Option<Vec<Job>> {
    let max = settings.max_batch.max(1);
    let mut batch = Vec::with_capacity(max);
    let gathered_meanwhile = !jobs.is_empty();
    if jobs.recv_many(&mut batch, max).await == 0 {
        return None;
    }
    if gathered_meanwhile {
        let deadline = batch[0].queued + settings.max_wait;
        while batch.len() < max {
            let left = max - batch.len();
            match timeout_at(deadline, jobs.recv_many(&mut batch, left)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
    }
    Some(batch)
}

fn compute(
    logits: &impl Fn(&[Input]) -> Logits,
    top_k: usize,
    batch: Vec<Job>,
    observe: &impl Fn(Batch),
) {
    let span = tracing::debug_span!(parent: None, "batch", images = batch.len());
    for job in &batch {
        span.follows_from(&job.caller);
    }
    let started = Instant::now();
    let (inputs, waiting): (Vec<Input>, Vec<_>) = batch
        .into_iter()
        .map(|job| (job.input, (job.queued, job.reply)))
        .unzip();
    let outcome = span.in_scope(|| forward(logits, &inputs));
    drop(span);
    let compute_time = started.elapsed();
    let size = inputs.len();
    let waited = |queued: Instant| started.saturating_duration_since(queued);
    let queue_wait = waiting
        .iter()
        .map(|(queued, _)| waited(*queued))
        .max()
        .unwrap_or_default();
    observe(Batch {
        size,
        queue_wait,
        compute_time,
    });
    let mut rows = outcome.map(Vec::into_iter);
    for (queued, reply) in waiting {
        let answer = match &mut rows {
            Ok(rows) => rows.next().ok_or(Error::Stopped).map(|logits| {
                let (classes, probabilities) = top(&logits, top_k);
                Prediction {
                    classes,
                    probabilities,
                    batch_size: size,
                    queue_wait: waited(queued),
                    compute_time,
                }
            }),
            Err(error) => Err(error.clone()),
        };
        // A caller that is gone needs no answer.
        let _ = reply.send(answer);
    }
}

/// A panic becomes an error of this batch. The model has no state that a panic could leave inconsistent.
fn forward(logits: &impl Fn(&[Input]) -> Logits, inputs: &[Input]) -> Result<Vec<Vec<f32>>, Error> {
    match catch_unwind(AssertUnwindSafe(|| logits(inputs))) {
        Ok(rows) => rows.map_err(Error::Failed),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(Error::Failed(format!("panic: {text}")))
        }
    }
}

fn warm_up(
    logits: &impl Fn(&[Input]) -> Logits,
    shape: [usize; 3],
    max_batch: usize,
) -> Result<(), Error> {
    let black = Input {
        shape,
        pixels: Pixels::U8(Bytes::from(vec![0; shape.iter().product()])),
    };
    forward(logits, std::slice::from_ref(&black))?;
    forward(logits, &vec![black; max_batch.max(1)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc as blocking, time::Duration};

    const SHAPE: [usize; 3] = [3, 1, 1];

    fn settings(max_batch: usize) -> BatchSettings {
        BatchSettings {
            max_batch,
            max_wait: Duration::from_millis(5),
            max_queue: 16,
            top_k: 2,
        }
    }

    fn input(value: f32) -> Input {
        Input {
            shape: SHAPE,
            pixels: Pixels::F32(vec![value; 3]),
        }
    }

    fn job(queued: Instant) -> Job {
        Job {
            input: input(0.0),
            queued,
            reply: oneshot::channel().0,
            caller: Span::none(),
        }
    }

    /// Class 1 is as probable as the image's value says.
    fn logits(inputs: &[Input]) -> Logits {
        let value = |input: &Input| match &input.pixels {
            Pixels::F32(values) => values[0],
            Pixels::U8(_) => 0.0,
        };
        Ok(inputs
            .iter()
            .map(|input| vec![0.0, value(input), f32::NEG_INFINITY])
            .collect())
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_finds_the_engine_idle_does_not_wait() {
        let (queue, mut jobs) = mpsc::channel(16);
        let start = Instant::now();
        let soon = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queue.send(job(Instant::now())).await.unwrap();
        };
        let (batch, ()) = tokio::join!(gather(&mut jobs, settings(8)), soon);
        assert_eq!(batch.unwrap().len(), 1);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn images_that_came_meanwhile_wait_for_company_but_not_beyond_the_limit() {
        let (queue, mut jobs) = mpsc::channel(16);
        let start = Instant::now();
        queue.send(job(start)).await.unwrap();
        let later = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            queue.send(job(Instant::now())).await.unwrap();
        };
        let (batch, ()) = tokio::join!(gather(&mut jobs, settings(8)), later);
        assert_eq!(batch.unwrap().len(), 2);
        assert_eq!(start.elapsed(), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_goes_at_once_and_the_rest_is_next() {
        let (queue, mut jobs) = mpsc::channel(16);
        let start = Instant::now();
        for _ in 0..5 {
            queue.send(job(start)).await.unwrap();
        }
        assert_eq!(gather(&mut jobs, settings(4)).await.unwrap().len(), 4);
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(queue);
        assert_eq!(gather(&mut jobs, settings(4)).await.unwrap().len(), 1);
        assert!(gather(&mut jobs, settings(4)).await.is_none());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_comes_while_a_batch_is_computed_is_the_next_batch() {
        let (started, has_started) = blocking::sync_channel(8);
        let (go_on, may_go_on) = blocking::sync_channel::<()>(8);
        let held = move |inputs: &[Input]| {
            if matches!(inputs[0].pixels, Pixels::F32(_)) {
                started.send(inputs.len()).unwrap();
                may_go_on.recv().unwrap();
            }
            logits(inputs)
        };
        let worker = Worker::start(held, SHAPE, settings(4), |_| {}).unwrap();
        let first = worker.classify(input(1.0));
        let others = async {
            while has_started.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            let others =
                async { tokio::join!(worker.classify(input(2.0)), worker.classify(input(3.0))) };
            let release = async {
                go_on.send(()).unwrap();
                go_on.send(()).unwrap();
            };
            tokio::join!(others, release).0
        };
        let (first, (second, third)) = tokio::join!(first, others);
        assert_eq!(first.unwrap().batch_size, 1);
        assert_eq!(second.unwrap().batch_size, 2);
        let third = third.unwrap();
        assert_eq!((third.batch_size, third.classes), (2, vec![1, 0]));
        assert!(third.probabilities[0] > 0.95 && third.probabilities.iter().sum::<f32>() <= 1.0);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_batch_only() {
        let fragile = |inputs: &[Input]| {
            assert!(
                !matches!(&inputs[0].pixels, Pixels::F32(values) if values[0] < 0.0),
                "planted"
            );
            logits(inputs)
        };
        let worker = Worker::start(fragile, SHAPE, settings(1), |_| {}).unwrap();
        let failed = worker.classify(input(-1.0)).await;
        assert_eq!(failed, Err(Error::Failed("panic: planted".to_owned())));
        assert_eq!(worker.classify(input(1.0)).await.unwrap().classes, [1, 0]);
    }

    #[test]
    fn a_model_that_fails_while_it_warms_up_never_starts() {
        let broken = |_: &[Input]| Err("no".to_owned());
        let started = Worker::start(broken, SHAPE, settings(1), |_| {});
        assert_eq!(started.err(), Some(Error::Failed("no".to_owned())));
    }
}
