//! The description of a ResNet: reads and checks weights and builds the network on a backend, block by block.

use crate::{
    Error,
    architecture::{Architecture, Block},
    layers::{Filter, Layers},
    weights::Weights,
};
use std::collections::BTreeSet;

/// The ε of batch norm in torchvision and timm.
const EPSILON: f64 = 1e-5;

/// Reads every tensor in the order of the forward pass; returns the node of the logits.
///
/// # Errors
/// [`Error::Mismatch`] with the first tensor that differs, or one that is left over.
pub(crate) fn describe<L: Layers>(
    architecture: &Architecture,
    weights: &Weights<'_>,
    layers: &mut L,
) -> Result<L::Node, Error> {
    let images = layers.input();
    let mut network = Description {
        architecture,
        weights,
        layers,
        used: BTreeSet::new(),
    };
    let stem = Geometry {
        inputs: 3,
        outputs: architecture.stem,
        kernel: 7,
        stride: 2,
        groups: 1,
    };
    let x = network.convolution("conv1", "bn1", stem, images, None, true)?;
    let mut x = network.layers.max_pool(x)?;
    let mut inputs = architecture.stem;
    for stage in 0..4 {
        for n in 0..architecture.blocks[stage] {
            let stride = if stage > 0 && n == 0 { 2 } else { 1 };
            x = network.residual(&format!("layer{}.{n}", stage + 1), stage, inputs, stride, x)?;
            inputs = architecture.out << stage;
        }
    }
    let x = network.layers.global_average(x)?;
    let weight = network.values("fc.weight".to_owned(), &[architecture.classes, inputs])?;
    let bias = network.values("fc.bias".to_owned(), &[architecture.classes])?;
    network.nothing_left()?;
    Ok(layers.classifier(x, weight, bias)?)
}

struct Geometry {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
}

struct Description<'a, L> {
    architecture: &'a Architecture,
    weights: &'a Weights<'a>,
    layers: &'a mut L,
    used: BTreeSet<String>,
}

impl<L: Layers> Description<'_, L> {
    /// A residual block: convolutions with ReLU; the shortcut is added before the last ReLU. It is a projection if the shape
    /// changes.
    fn residual(
        &mut self,
        name: &str,
        stage: usize,
        inputs: usize,
        stride: usize,
        x: L::Node,
    ) -> Result<L::Node, Error> {
        let Architecture { block, groups, .. } = *self.architecture;
        let (width, outputs) = (
            self.architecture.width << stage,
            self.architecture.out << stage,
        );
        let conv = |inputs, outputs, kernel, stride, groups| Geometry {
            inputs,
            outputs,
            kernel,
            stride,
            groups,
        };
        let mut inner = match block {
            Block::Basic => vec![conv(inputs, width, 3, stride, 1)],
            Block::Bottleneck => vec![
                conv(inputs, width, 1, 1, 1),
                conv(width, width, 3, stride, groups),
            ],
        };
        let last_kernel = if block == Block::Basic { 3 } else { 1 };
        inner.push(conv(width, outputs, last_kernel, 1, 1));
        let shortcut = if stride != 1 || inputs != outputs {
            let projection = conv(inputs, outputs, 1, stride, 1);
            let (conv, norm) = (
                format!("{name}.downsample.0"),
                format!("{name}.downsample.1"),
            );
            self.convolution(&conv, &norm, projection, x, None, false)?
        } else {
            x
        };
        let last = inner.len();
        let mut y = x;
        for (number, geometry) in (1..).zip(inner) {
            let (conv, norm) = (format!("{name}.conv{number}"), format!("{name}.bn{number}"));
            y = self.convolution(
                &conv,
                &norm,
                geometry,
                y,
                (number == last).then_some(shortcut),
                true,
            )?;
        }
        Ok(y)
    }

    /// A convolution and its batch norm as one: w·γ/√(σ²+ε), β − μ·γ/√(σ²+ε).
    fn convolution(
        &mut self,
        conv: &str,
        norm: &str,
        geometry: Geometry,
        x: L::Node,
        residual: Option<L::Node>,
        relu: bool,
    ) -> Result<L::Node, Error> {
        let Geometry {
            inputs,
            outputs,
            kernel,
            stride,
            groups,
        } = geometry;
        let taps = inputs / groups * kernel * kernel;
        let mut weight = self.values(
            format!("{conv}.weight"),
            &[outputs, inputs / groups, kernel, kernel],
        )?;
        let gamma = self.values(format!("{norm}.weight"), &[outputs])?;
        let beta = self.values(format!("{norm}.bias"), &[outputs])?;
        let mean = self.values(format!("{norm}.running_mean"), &[outputs])?;
        let variance = self.values(format!("{norm}.running_var"), &[outputs])?;
        if let Some(value) = variance.iter().find(|value| **value < 0.0) {
            return Err(self.differs(
                format!("{norm}.running_var"),
                format!("negative ({value})"),
                "a variance",
            ));
        }
        let mut bias = Vec::with_capacity(outputs);
        for (channel, filter) in weight.chunks_exact_mut(taps).enumerate() {
            let scale = f64::from(gamma[channel]) / (f64::from(variance[channel]) + EPSILON).sqrt();
            filter
                .iter_mut()
                .for_each(|value| *value = (f64::from(*value) * scale) as f32);
            bias.push((f64::from(beta[channel]) - f64::from(mean[channel]) * scale) as f32);
        }
        let filter = Filter {
            name: conv.to_owned(),
            weight,
            bias,
            inputs,
            kernel,
            stride,
            groups,
        };
        Ok(self.layers.convolution(x, filter, residual, relu)?)
    }

    fn values(&mut self, name: String, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let values = self
            .weights
            .values(&self.architecture.to_string(), &name, shape)?;
        self.used.insert(name);
        Ok(values)
    }

    /// A tensor that is left over belongs to another architecture, whose output would differ.
    fn nothing_left(&self) -> Result<(), Error> {
        match self.weights.names().difference(&self.used).next() {
            Some(name) => Err(self.differs(name.clone(), "there".to_owned(), "no such tensor")),
            None => Ok(()),
        }
    }

    fn differs(&self, tensor: String, found: String, expected: &str) -> Error {
        let architecture = self.architecture.to_string();
        Error::Mismatch {
            architecture,
            tensor,
            found,
            expected: expected.to_owned(),
        }
    }
}
