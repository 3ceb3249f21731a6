//! What goes into a batch and comes out of it.

use crate::WrongShape;
use std::time::Duration;

/// When a batch is full, and how much may wait for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Images of one forward pass at most.
    pub max_batch: usize,
    /// How long an image that came while the engine computed may wait for company once the engine is free.
    /// One that finds the engine idle is computed at once.
    pub max_wait: Duration,
    /// Images that may wait; callers beyond wait for a place.
    pub max_queue: usize,
    /// Classes a prediction names.
    pub top_k: usize,
}

/// The most probable classes of an image, falling.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Indices into the model's labels.
    pub classes: Vec<u32>,
    /// Softmax over all classes.
    pub probabilities: Vec<f32>,
    /// How many images were computed together.
    pub batch_size: usize,
    /// From the call to the start of the forward pass.
    pub queue_wait: Duration,
    /// Of the whole batch.
    pub compute_time: Duration,
}

/// One forward pass, for whoever counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub size: usize,
    /// Of the image that waited longest.
    pub queue_wait: Duration,
    pub compute_time: Duration,
}

/// What becomes of a call that brings no prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller's fault: reject.
    #[error(transparent)]
    WrongShape(#[from] WrongShape),
    /// The batch failed or its computation panicked; another try may do better.
    #[error("model failed: {0}")]
    Failed(String),
    /// The engine is gone, or going.
    #[error("engine has stopped")]
    Stopped,
}

/// The `k` largest of the softmax, falling; of equals the lower index first.
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
