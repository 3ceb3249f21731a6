//! A thread that computes batches, and the queue in which the next batch gathers while it does.

mod batch;
mod worker;

use crate::{Input, Model};
use std::sync::Arc;
use worker::Worker;

pub use batch::{Batch, BatchSettings, Error, Prediction};

/// A warm model on a thread of its own. Dropping it ends the thread after the batch that is being computed.
pub struct Engine {
    model: Arc<Model>,
    worker: Worker,
}

impl Engine {
    /// Starts the thread and returns when batches of one and of `max_batch` have been computed, so blocks for that long.
    /// `observe` is called on the thread after every batch.
    pub fn start(
        model: Model,
        settings: BatchSettings,
        observe: impl Fn(Batch) + Send + 'static,
    ) -> Result<Self, Error> {
        let model = Arc::new(model);
        let on_thread = Arc::clone(&model);
        let logits =
            move |inputs: &[Input]| on_thread.logits(inputs).map_err(|error| error.to_string());
        let worker = Worker::start(logits, model.input_shape(), settings, observe)?;
        Ok(Self { model, worker })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Images that wait now.
    pub fn waiting(&self) -> usize {
        self.worker.waiting()
    }

    /// Whether the thread still takes images.
    pub fn alive(&self) -> bool {
        self.worker.alive()
    }

    /// Waits for a place in the queue, then for the batch. Dropping the future drops the image.
    pub async fn classify(&self, input: Input) -> Result<Prediction, Error> {
        self.model.check(&input)?;
        self.worker.classify(input).await
    }
}
