//! A file of weights: untrusted, read by tensor name into f32.

use crate::Error;
use bytes::Bytes;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Prefixes that wrappers put before torchvision's names.
const PREFIXES: [&str; 3] = ["", "module.", "model."];

/// The tensors of a safetensors file under torchvision's names.
pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    prefix: &'static str,
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &Bytes) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl<'a> Weights<'a> {
    pub(crate) fn read(what: &str, bytes: &'a [u8]) -> Result<Self, Error> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::invalid(what, format!("not a safetensors file: {error}")))?;
        let has = |prefix: &str| tensors.tensor(&format!("{prefix}conv1.weight")).is_ok();
        let prefix = PREFIXES
            .into_iter()
            .find(|prefix| has(prefix))
            .unwrap_or_default();
        Ok(Self { tensors, prefix })
    }

    fn view(&self, name: &str) -> Option<TensorView<'a>> {
        self.tensors.tensor(&format!("{}{name}", self.prefix)).ok()
    }

    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.view(name).map(|view| view.shape().to_vec())
    }

    /// All names without their prefix, sorted, except counters that only training uses.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let names = self
            .tensors
            .names()
            .into_iter()
            .filter(|name| !name.ends_with(".num_batches_tracked"));
        names
            .map(|name| name.strip_prefix(self.prefix).unwrap_or(name).to_owned())
            .collect()
    }

    /// The values of a tensor of `shape`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it is missing, has another shape or dtype, or a value is not finite.
    pub(crate) fn values(
        &self,
        architecture: &str,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, Error> {
        let differs = |found: String| Error::Mismatch {
            architecture: architecture.to_owned(),
            tensor: name.to_owned(),
            found,
            expected: format!("{shape:?}"),
        };
        let view = self
            .view(name)
            .ok_or_else(|| differs("missing".to_owned()))?;
        if view.shape() != shape {
            return Err(differs(format!("{:?}", view.shape())));
        }
        let values = floats(&view).ok_or_else(|| differs(format!("{:?}", view.dtype())))?;
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(differs(format!("not finite ({value})"))),
            None => Ok(values),
        }
    }
}

/// The values of a tensor of F16, BF16 or F32; `None` for another dtype.
fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    let halves = || data.chunks_exact(2).map(|b| [b[0], b[1]]);
    match view.dtype() {
        Dtype::F32 => Some(
            data.chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ),
        Dtype::F16 => Some(halves().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        _ => None,
    }
}
