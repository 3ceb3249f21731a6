//! Settings and results of batches.

use crate::WrongShape;
use std::time::Duration;

/// When a batch is complete, and how many images may wait for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// The most images of one forward pass.
    pub max_batch: usize,
    /// How long an image that arrived during a forward pass may wait for a fuller batch, counted from its arrival. An image
    /// that finds the engine idle is computed at once.
    pub max_wait: Duration,
    /// The most images in the queue; further callers wait until it has space.
    pub max_queue: usize,
    /// Classes of a prediction.
    pub top_k: usize,
}

/// The most probable classes of an image, the most probable first.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Indices into the model's labels.
    pub classes: Vec<u32>,
    /// Their probabilities: softmax over the logits of all classes.
    pub probabilities: Vec<f32>,
    /// Images of its batch.
    pub batch_size: usize,
    /// Time from the call to the start of the forward pass.
    pub queue_wait: Duration,
    /// Time of the forward pass of the whole batch.
    pub compute_time: Duration,
}

/// One forward pass, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Its images.
    pub size: usize,
    /// The longest wait of its images.
    pub queue_wait: Duration,
    /// Time of the forward pass.
    pub compute_time: Duration,
}

/// Why a call has no prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input does not fit the model: reject it.
    #[error(transparent)]
    WrongShape(#[from] WrongShape),
    /// The forward pass failed or panicked; another attempt may succeed.
    #[error("model failed: {0}")]
    Failed(String),
    /// The engine has stopped or is stopping.
    #[error("engine has stopped")]
    Stopped,
}

/// The `k` largest of the softmax in descending order; of equals the lower index first.
pub(super) fn top(logits: &[f32], k: usize) -> (Vec<u32>, Vec<f32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
    order.truncate(k);
    let probabilities = order
        .iter()
        .map(|class| (logits[*class as usize] - largest).exp() / sum)
        .collect();
    (order, probabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_finite_for_logits_of_any_size() {
        let (classes, probabilities) = top(&[1e30, -1e30, 1e30], 5);
        assert_eq!(classes, [0, 2, 1]);
        assert_eq!(probabilities, [0.5, 0.5, 0.0]);
    }
}
