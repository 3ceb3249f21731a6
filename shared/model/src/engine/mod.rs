//! The engine: a thread that computes batches, and the queue that gathers the next batch meanwhile.

mod batch;
mod worker;

use crate::{Input, Model};
use std::sync::Arc;
use worker::Worker;

pub use batch::{Batch, BatchSettings, Error, Prediction};

/// A warmed-up model on a thread of its own. Dropping it stops the thread after the current batch.
pub struct Engine {
    model: Arc<Model>,
    worker: Worker,
}

impl Engine {
    /// Starts the thread and waits until it has computed a batch of one image and one of `max_batch`. Blocks.
    /// `observe` is called on the thread after every forward pass.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no thread or a warm-up batch fails.
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

    /// The model that it runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Images in the queue.
    pub fn waiting(&self) -> usize {
        self.worker.waiting()
    }

    /// Whether the thread still accepts images.
    pub fn alive(&self) -> bool {
        self.worker.alive()
    }

    /// Waits until the queue has space, then for the batch. Dropping the future drops the image.
    ///
    /// # Errors
    /// [`Error`] says whether another attempt can succeed.
    pub async fn classify(&self, input: Input) -> Result<Prediction, Error> {
        self.model.check(&input)?;
        self.worker.classify(input).await
    }
}
