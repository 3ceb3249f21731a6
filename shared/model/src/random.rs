//! Random weights of any ResNet, for benchmarks and tests.

use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use safetensors::{Dtype, serialize, tensor::TensorView};
use sightline_manifest::Source;
use std::collections::BTreeMap;

/// The dimensions of a network.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    /// Whether blocks are 1×1, 3×3, 1×1 instead of two 3×3.
    pub bottleneck: bool,
    /// Residual blocks of each stage.
    pub blocks: [usize; 4],
    /// Channels of the stem, and of the blocks' outputs before expansion.
    pub planes: usize,
    /// Channels inside the first stage's blocks.
    pub width: usize,
    /// Groups of the 3×3 convolutions of bottlenecks.
    pub groups: usize,
    /// Logits of an image.
    pub classes: usize,
}

impl Net {
    /// A network whose blocks are `planes` wide, without groups.
    pub fn new(bottleneck: bool, blocks: [usize; 4], planes: usize, classes: usize) -> Self {
        Self {
            bottleneck,
            blocks,
            planes,
            width: planes,
            groups: 1,
            classes,
        }
    }
}

/// Shape and values of each tensor, by name.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

struct Maker {
    tensors: Tensors,
    random: SmallRng,
}

impl Maker {
    fn add(&mut self, name: String, shape: &[usize], mut value: impl FnMut(&mut SmallRng) -> f32) {
        let values = (0..shape.iter().product())
            .map(|_| value(&mut self.random))
            .collect();
        self.tensors.insert(name, (shape.to_vec(), values));
    }

    fn convolution(&mut self, conv: &str, norm: &str, [outputs, inputs, kernel]: [usize; 3]) {
        let bound = (6.0 / (inputs * kernel * kernel) as f32).sqrt();
        let shape = [outputs, inputs, kernel, kernel];
        self.add(format!("{conv}.weight"), &shape, |random| {
            random.random_range(-bound..bound)
        });
        self.add(format!("{norm}.weight"), &[outputs], |random| {
            random.random_range(0.4..0.8)
        });
        self.add(format!("{norm}.bias"), &[outputs], |random| {
            random.random_range(-0.2..0.2)
        });
        self.add(format!("{norm}.running_mean"), &[outputs], |random| {
            random.random_range(-0.2..0.2)
        });
        self.add(format!("{norm}.running_var"), &[outputs], |random| {
            random.random_range(0.75..1.25)
        });
    }
}

/// Random weights under torchvision's names; equal seeds give equal weights.
pub fn tensors(net: Net, seed: u64) -> Tensors {
    let mut maker = Maker {
        tensors: Tensors::new(),
        random: SmallRng::seed_from_u64(seed),
    };
    maker.convolution("conv1", "bn1", [net.planes, 3, 7]);
    let mut inputs = net.planes;
    for stage in 0..4 {
        let width = net.width << stage;
        let outputs = (net.planes << stage) * if net.bottleneck { 4 } else { 1 };
        for n in 0..net.blocks[stage] {
            let block = format!("layer{}.{n}", stage + 1);
            let shapes = if net.bottleneck {
                vec![
                    [width, inputs, 1],
                    [width, width / net.groups, 3],
                    [outputs, width, 1],
                ]
            } else {
                vec![[width, inputs, 3], [outputs, width, 3]]
            };
            for (number, shape) in (1..).zip(shapes) {
                maker.convolution(
                    &format!("{block}.conv{number}"),
                    &format!("{block}.bn{number}"),
                    shape,
                );
            }
            if n == 0 && (stage > 0 || inputs != outputs) {
                let (conv, norm) = (
                    format!("{block}.downsample.0"),
                    format!("{block}.downsample.1"),
                );
                maker.convolution(&conv, &norm, [outputs, inputs, 1]);
            }
            inputs = outputs;
        }
    }
    maker.add("fc.weight".to_owned(), &[net.classes, inputs], |random| {
        random.random_range(-0.1..0.1)
    });
    maker.add("fc.bias".to_owned(), &[net.classes], |random| {
        random.random_range(-0.1..0.1)
    });
    maker.tensors
}

fn view<'a>(dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> TensorView<'a> {
    TensorView::new(dtype, shape.to_vec(), bytes).expect("tensors are as long as their shapes say")
}

/// A safetensors file of these tensors. `dtype` is F16, BF16 or F32.
///
/// # Panics
/// If a tensor is not as long as its shape says.
pub fn file(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let bytes = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F16 => values
                .iter()
                .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                .collect(),
            Dtype::BF16 => values
                .iter()
                .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                .collect(),
            _ => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    };
    let data: Vec<_> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, shape, bytes(values)))
        .collect();
    let views = data
        .iter()
        .map(|(name, shape, bytes)| (name, view(dtype, shape, bytes)));
    serialize(views, None).expect("tensors are as long as their shapes say")
}

impl Net {
    /// ResNet-101 as in the paper, with ImageNet's thousand classes.
    pub fn resnet101() -> Self {
        Self::new(true, [3, 4, 23, 3], 64, 1000)
    }

    /// A source with these weights in f32 and ImageNet's preprocessing.
    pub fn source(self, seed: u64) -> Source {
        Source::Bytes {
            name: "random".to_owned(),
            weights: Some(file(&tensors(self, seed), Dtype::F32).into()),
            manifest: None,
            calibration: None,
        }
    }
}
