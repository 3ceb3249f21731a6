//! Random weights and manifests for them.

pub use sightline_model::random::{Net, Tensors, file, tensors};

/// A manifest for inputs of this size, without labels.
pub fn manifest(size: usize) -> Vec<u8> {
    let manifest = serde_json::json!({
        "name": "made-up",
        "labels": [],
        "preprocessing": { "size": [size, size], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3] },
    });
    manifest.to_string().into_bytes()
}
