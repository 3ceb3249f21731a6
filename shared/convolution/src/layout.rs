//! The layout of each activation of a network: size, border, and the gap between pixels.

use crate::{
    extent::Extent,
    step::{Operation, Step},
};

/// The size of each step's result, with the border that its readers need.
pub(crate) fn extents(steps: &[Step], height: usize, width: usize) -> Result<Vec<Extent>, String> {
    let mut extents: Vec<Extent> = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let size = match (&step.operation, step.input) {
            (Operation::Input, _) | (_, None) => Some((height, width)),
            (operation, Some(from)) => {
                let Extent { height, width, .. } = extents[from];
                match operation {
                    Operation::Convolution { convolution, .. } => {
                        convolution.output_size(height, width)
                    }
                    Operation::MaxPool(window) => window.output(height).zip(window.output(width)),
                    Operation::Input | Operation::Average => Some((1, 1)),
                }
            }
        };
        let (height, width) = size.ok_or_else(|| {
            format!("step {number} of the network can't reduce a {height}×{width} image further")
        })?;
        if let Some(residual) = step.residual()
            && (extents[residual].height, extents[residual].width) != (height, width)
        {
            return Err(format!("the residual of step {number} has another size"));
        }
        extents.push(Extent {
            height,
            width,
            channels: spaced(steps, number),
            border: border(steps, number),
            stride: 0,
        });
    }
    Ok(extents)
}

/// Numbers from one pixel of the result of step `number` to the next: its channels, and a cache line more if pixels would
/// map to a few sets of the first-level cache while every tap of a kernel reads them again.
fn spaced(steps: &[Step], number: usize) -> usize {
    const LINE: usize = 64;
    const FEW_SETS: usize = 8 * LINE;
    let precision = steps[number].precision;
    let channels = precision.stored(steps[number].channels);
    let mut readers = steps
        .iter()
        .filter(|step| step.input == Some(number))
        .peekable();
    let spread = readers.peek().is_some()
        && readers.all(|step| match &step.operation {
            Operation::Convolution { convolution, .. } => convolution.reads_by_tap(),
            _ => false,
        });
    if spread && (channels * precision.bytes()).is_multiple_of(FEW_SETS) {
        channels + LINE / precision.bytes()
    } else {
        channels
    }
}

/// The largest padding among the convolutions that read the result of step `number`.
fn border(steps: &[Step], number: usize) -> usize {
    let readers = steps.iter().filter(|step| step.input == Some(number));
    let padding = readers.map(|step| match &step.operation {
        Operation::Convolution { convolution, .. } => convolution.shape().padding,
        _ => 0,
    });
    padding.max().unwrap_or(0)
}
