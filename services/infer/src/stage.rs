//! The stage: turns a tensor into a prediction.

use crate::metrics::BatchMetrics;
use bytes::Bytes;
use sightline_contracts::{
    Label, ModelInfo, PredictionMessage, Reason, TensorMessage, Topic, now_ms,
};
use sightline_manifest::Preprocessing;
use sightline_model::{Engine, Input, Prediction, engine};
use sightline_stream::{Outcome, Output, Record, Stage, with_causes};
use std::sync::Arc;

/// Classifies tensors with one engine.
pub struct Infer {
    engine: Arc<Engine>,
    model: ModelInfo,
    metrics: BatchMetrics,
}

impl Infer {
    /// A stage on a running engine.
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

    /// Rejects a tensor that was preprocessed for another model. Its shape may fit, but its prediction would be wrong.
    fn check(&self, theirs: &Preprocessing) -> Result<(), Outcome> {
        let ours = &self.engine.model().manifest().preprocessing;
        if theirs == ours {
            return Ok(());
        }
        let json = |preprocessing| serde_json::to_string(preprocessing).unwrap_or_default();
        let error = format!(
            "the tensor was made with {}, the weights want {}: do preprocess and infer have the same --model?",
            json(theirs),
            json(ours)
        );
        Err(Outcome::reject(Reason::WrongPreprocessing, error))
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
        if let Err(outcome) = self.check(&message.preprocessing) {
            return outcome;
        }
        let input = Input {
            shape: message.shape,
            pixels: message.pixels,
        };
        let prediction = match self.classify(input).await {
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
