//! The architecture of a file of weights, inferred from the names and shapes of its tensors.
//!
//! Supported are the five depths of He et al., [Deep Residual Learning](https://arxiv.org/abs/1512.03385), with the stride
//! on the 3×3 convolution as torchvision and timm have it, at any width, with any number of groups and of classes.

use crate::{Error, weights::Weights};
use std::fmt;

/// The two kinds of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 and 1×1 convolutions.
    Bottleneck,
}

const DEPTHS: [(usize, Block, [usize; 4]); 5] = [
    (18, Block::Basic, [2, 2, 2, 2]),
    (34, Block::Basic, [3, 4, 6, 3]),
    (50, Block::Bottleneck, [3, 4, 6, 3]),
    (101, Block::Bottleneck, [3, 4, 23, 3]),
    (152, Block::Bottleneck, [3, 8, 36, 3]),
];

/// A ResNet's dimensions. Displayed as `resnet18` … `resnet152`, whatever its width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// 18, 34, 50, 101 or 152.
    pub depth: usize,
    /// The kind of all its residual blocks.
    pub block: Block,
    /// Residual blocks of each stage.
    pub blocks: [usize; 4],
    /// Channels after the 7×7 convolution: 64 in the paper.
    pub stem: usize,
    /// Channels inside the first stage's blocks; doubled by every further stage.
    pub width: usize,
    /// Channels between the first stage's blocks; doubled by every further stage.
    pub out: usize,
    /// Groups of the 3×3 convolutions of bottlenecks: 32 in ResNeXt.
    pub groups: usize,
    /// Logits of an image.
    pub classes: usize,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resnet{}", self.depth)
    }
}

impl Architecture {
    /// Reads the dimensions from the shapes that determine them. Other tensors are checked when they are read.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if one of those tensors is missing or has an impossible shape.
    pub(crate) fn of(weights: &Weights<'_>) -> Result<Self, Error> {
        let has = |name: &str| weights.shape(name).is_some();
        let block = if has("layer1.0.conv3.weight") {
            Block::Bottleneck
        } else {
            Block::Basic
        };
        let found = [1, 2, 3, 4].map(|stage| {
            (0..)
                .take_while(|n| has(&format!("layer{stage}.{n}.conv1.weight")))
                .count()
        });
        let (depth, blocks) = nearest(block, found);
        let dimension = |name: &str, rank: usize, axis: usize| {
            let shape = weights.shape(name);
            let size = shape
                .as_ref()
                .filter(|shape| shape.len() == rank)
                .map(|shape| shape[axis]);
            size.filter(|size| (1..=MOST_CHANNELS).contains(size))
                .ok_or_else(|| Error::Mismatch {
                    architecture: format!("resnet{depth}"),
                    tensor: name.to_owned(),
                    found: shape.map_or("missing".to_owned(), |shape| format!("{shape:?}")),
                    expected: format!("{rank} dimensions of 1 to {MOST_CHANNELS}"),
                })
        };
        let stem = dimension("conv1.weight", 4, 0)?;
        let width = dimension("layer1.0.conv1.weight", 4, 0)?;
        let (out, groups) = match block {
            Block::Basic => (width, 1),
            Block::Bottleneck => {
                let inner = dimension("layer1.0.conv2.weight", 4, 1)?;
                (
                    dimension("layer1.0.conv3.weight", 4, 0)?,
                    (width / inner).max(1),
                )
            }
        };
        let classes = dimension("fc.weight", 2, 0)?;
        Ok(Self {
            depth,
            block,
            blocks,
            stem,
            width,
            out,
            groups,
            classes,
        })
    }

    /// Fails where the manifest describes an input that the network can't take: it halves both sides five times.
    pub(crate) fn check_input(&self, what: &str, size: [usize; 2]) -> Result<(), Error> {
        if size.iter().all(|side| *side >= LEAST_SIDE) {
            return Ok(());
        }
        Err(Error::invalid(
            format!("manifest of {what}"),
            format!("{self} takes images of at least {LEAST_SIDE}×{LEAST_SIDE}, not {size:?}"),
        ))
    }
}

const LEAST_SIDE: usize = 32;

/// More channels than any published ResNet has; a forged header can't cause a large allocation.
const MOST_CHANNELS: usize = 1 << 17;

/// The depth whose block counts differ least, so that an error can name the first block that is missing or left over.
fn nearest(block: Block, found: [usize; 4]) -> (usize, [usize; 4]) {
    let distance = |blocks: &[usize; 4]| -> usize {
        blocks.iter().zip(found).map(|(a, b)| a.abs_diff(b)).sum()
    };
    let candidates = DEPTHS.iter().filter(|(_, kind, _)| *kind == block);
    let (depth, _, blocks) = candidates
        .min_by_key(|(_, _, blocks)| distance(blocks))
        .unwrap_or(&DEPTHS[0]);
    (*depth, *blocks)
}
