//! A tensor's way through the stage.

use crate::metrics::BatchMetrics;
use bytes::Bytes;
use sightline_contracts::{
    Label, ModelInfo, Pixels, PredictionMessage, Reason, TensorMessage, Topic, now_ms,
};
use sightline_model::{Engine, Input, Prediction, Preprocessing, engine};
use sightline_stream::{Outcome, Output, Record, Stage, with_causes};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Classifies tensors with one engine.
pub struct Infer {
    engine: Arc<Engine>,
    model: ModelInfo,
    metrics: BatchMetrics,
    /// Whether a tensor made for another model has been reported.
    foreign: AtomicBool,
}

impl Infer {
    pub fn new(engine: Arc<Engine>, metrics: BatchMetrics) -> Self {
        let model = engine.model();
        let model = ModelInfo {
            name: model.manifest().name.clone(),
            architecture: model.architecture().to_string(),
            weights_sha256: model.weights_sha256().to_owned(),
        };
        Self {
            engine,
            model,
            metrics,
            foreign: AtomicBool::new(false),
        }
    }

    async fn classify(&self, input: Input) -> Result<Prediction, engine::Error> {
        let prediction = self.engine.classify(input);
        self.metrics.waiting(self.engine.waiting());
        let prediction = prediction.await;
        self.metrics.waiting(self.engine.waiting());
        prediction
    }

    fn labels(&self, prediction: &Prediction) -> Vec<Label> {
        let names = &self.engine.model().manifest().labels;
        let named = prediction.classes.iter().zip(&prediction.probabilities);
        let label = |class: u32| names.get(class as usize).cloned().unwrap_or_default();
        named
            .map(|(&class, &probability)| Label {
                class,
                label: label(class),
                probability,
            })
            .collect()
    }

    /// A tensor of the right shape may still have been made for other weights; said once, since it degrades silently.
    fn compare(&self, preprocessing: &serde_json::Value) {
        let ours = &self.engine.model().manifest().preprocessing;
        let theirs = serde_json::from_value::<Preprocessing>(preprocessing.clone());
        if theirs.is_ok_and(|theirs| theirs != *ours) && !self.foreign.swap(true, Ordering::Relaxed)
        {
            let ours = serde_json::to_string(ours).unwrap_or_default();
            tracing::warn!(theirs = %preprocessing, ours, "tensors are not made as the model's manifest says");
        }
    }
}

impl Stage for Infer {
    async fn process(&self, record: Record) -> Outcome {
        let Some(value) = &record.value else {
            return Outcome::reject(Reason::Malformed, "record without a value");
        };
        let message = match TensorMessage::decode(value) {
            Ok(message) => message,
            Err(error) => return Outcome::reject(Reason::Malformed, with_causes(&error)),
        };
        record
            .span
            .record("image_id", tracing::field::display(message.image.id));
        self.compare(&message.preprocessing);
        let pixels = match message.pixels {
            Pixels::U8(bytes) => sightline_model::Pixels::U8(bytes),
            Pixels::F32(values) => sightline_model::Pixels::F32(values),
        };
        let prediction = match self
            .classify(Input {
                shape: message.shape,
                pixels,
            })
            .await
        {
            Ok(prediction) => prediction,
            Err(engine::Error::WrongShape(wrong)) => {
                return Outcome::reject(Reason::WrongShape, wrong.to_string());
            }
            Err(error) => return Outcome::retry(error.to_string()),
        };
        let mut image = message.image;
        image.times.inferred_ms = Some(now_ms());
        let labels = self.labels(&prediction);
        tracing::debug!(
            label = labels.first().map(|label| &*label.label),
            batch = prediction.batch_size,
            "classified"
        );
        let key = Bytes::from(image.record_key());
        let notified_ms = image.times.notified_ms;
        let message = PredictionMessage {
            image,
            model: self.model.clone(),
            labels,
            thumbnail: message.thumbnail,
        };
        Outcome::Done(vec![
            Output::new(Topic::Predictions, Some(key), message.encode()).notified_at(notified_ms),
        ])
    }
}
