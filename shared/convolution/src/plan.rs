//! The memory plan and schedule of a network for one image size: buffers of activations, order of steps, chunks.

use crate::{
    aligned::Aligned,
    cut::Cut,
    element::Element,
    extent::Extent,
    layout::extents,
    precision::Precision,
    step::{Operation, Step},
    threads::Stage,
};
use std::ops::Range;

/// Rows that one chunk of an input or pooling step works on.
pub(crate) const ROWS: usize = 8;

/// Activations of more bytes than this, over the batch, leave the cache before the next step reads them.
const FAR: usize = 8 << 20;

/// An arena for up to `capacity` images of one size.
///
/// Activations share a buffer if their lifetimes don't overlap. One with a border shares only with others of the same
/// extent, because the border is written once, at allocation. A result overwrites its residual if no later step reads
/// that, which touches a third less memory.
pub(crate) struct Plan {
    height: usize,
    width: usize,
    capacity: usize,
    /// For each step, the buffer and layout of its result.
    pub(crate) activations: Vec<Activation>,
    pub(crate) buffers: Vec<Aligned>,
    /// The batch size that `runs` and `stages` are for.
    images: usize,
    pub(crate) runs: Vec<Run>,
    /// One for each run.
    pub(crate) stages: Vec<Stage>,
}

/// A step on some of the batch's images.
pub(crate) struct Run {
    pub(crate) step: usize,
    pub(crate) images: Range<usize>,
    pub(crate) work: Work,
}

/// The layout and buffer of a step's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) extent: Extent,
    pub(crate) precision: Precision,
    /// The zero point for int8, else 0.
    zero: u8,
    pub(crate) buffer: usize,
}

impl Activation {
    /// Bytes of an image.
    fn bytes(&self) -> usize {
        self.extent.image() * self.precision.bytes()
    }
}

/// How a run is cut into chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Convolution(Cut),
    /// Rows of all images together.
    Rows(usize),
    Images(usize),
}

impl Work {
    fn chunks(&self) -> usize {
        match self {
            Self::Convolution(cut) => cut.chunks(),
            Self::Rows(rows) => rows.div_ceil(ROWS),
            Self::Images(images) => *images,
        }
    }
}

impl Plan {
    /// Fails with the step that can't compute images of that size.
    pub(crate) fn new(
        steps: &[Step],
        height: usize,
        width: usize,
        capacity: usize,
        retention: Retention,
    ) -> Result<Self, String> {
        let extents = extents(steps, height, width)?;
        let (mut activations, sizes) = assign(steps, &extents, retention);
        // The same for all activations in a buffer, so that no image overlaps another one's part.
        for activation in &mut activations {
            activation.extent.stride = sizes[activation.buffer] / activation.precision.bytes();
        }
        let floats = |size: &usize| (size * capacity).div_ceil(size_of::<f32>());
        let mut buffers: Vec<_> = sizes.iter().map(|s| Aligned::zeroed(floats(s))).collect();
        for activation in activations.iter().filter(|activation| activation.zero > 0) {
            let zeros = f32::from_bits(u32::from_ne_bytes([activation.zero; 4]));
            buffers[activation.buffer].as_mut_slice().fill(zeros);
        }
        Ok(Self {
            height,
            width,
            capacity,
            activations,
            buffers,
            images: 0,
            runs: Vec::new(),
            stages: Vec::new(),
        })
    }

    pub(crate) fn fits(&self, images: usize, height: usize, width: usize) -> bool {
        (self.height, self.width) == (height, width) && images <= self.capacity
    }

    /// Orders and cuts the work for a batch of `images`. The first steps have large activations and run image by image,
    /// so that each finds its input in the cache.
    pub(crate) fn cut(&mut self, steps: &[Step], images: usize, threads: usize) {
        if self.images == images {
            return;
        }
        let far = |activation: &Activation| activation.bytes() * images > FAR;
        let early = match images {
            1 => 0,
            _ => self
                .activations
                .iter()
                .rposition(far)
                .map_or(0, |last| last + 1),
        };
        let mut order = Vec::new();
        for image in 0..images {
            order.extend((0..early).map(|step| (step, image..image + 1)));
        }
        order.extend((early..steps.len()).map(|step| (step, 0..images)));
        let run = |(step, images): (usize, Range<usize>)| Run {
            work: self.work(steps, step, images.len(), threads),
            step,
            images,
        };
        self.runs = order.into_iter().map(run).collect();
        let stages = self.runs.iter();
        let stages = stages.map(|run| Stage::new(run.work.chunks(), threads));
        self.stages = stages.collect();
        self.images = images;
    }

    /// The start of image `n` of a step's result.
    pub(crate) fn image(&self, step: usize, n: usize) -> *mut u8 {
        let activation = &self.activations[step];
        let start = self.buffers[activation.buffer].pointer().cast::<u8>();
        start.wrapping_add(n * activation.extent.stride * activation.precision.bytes())
    }

    /// Image `n` of a step's result, the border included.
    ///
    /// # Safety
    /// `E` is of the step's precision, `n` within the batch, and no one writes the result meanwhile.
    pub(crate) unsafe fn numbers<E: Element>(&self, step: usize, n: usize) -> &[E] {
        let numbers = self.activations[step].extent.image();
        // SAFETY: an activation's buffer holds its extent for all images of the batch, zeroed at first.
        unsafe { std::slice::from_raw_parts(self.image(step, n).cast::<E>(), numbers) }
    }

    fn work(&self, steps: &[Step], step: usize, images: usize, threads: usize) -> Work {
        let extent = &self.activations[step].extent;
        match &steps[step].operation {
            Operation::Convolution { convolution, .. } => {
                let input = steps[step].input.unwrap_or(step);
                let extents = (&self.activations[input].extent, extent);
                Work::Convolution(convolution.cut(images, extents, threads))
            }
            Operation::Input | Operation::MaxPool(_) => Work::Rows(images * extent.height),
            Operation::Average => Work::Images(images),
        }
    }
}

/// How long a result is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Until its last reader is done.
    LastUse,
    /// Until the end of the call.
    Call,
}

/// Assigns a buffer to each result; returns each buffer's bytes an image.
fn assign(
    steps: &[Step],
    extents: &[Extent],
    retention: Retention,
) -> (Vec<Activation>, Vec<usize>) {
    let mut last_use: Vec<usize> = (0..steps.len()).collect();
    for (number, step) in steps.iter().enumerate() {
        for read in step.input.into_iter().chain(step.residual()) {
            last_use[read] = number;
        }
    }
    // Nothing overwrites the network's result.
    if let Some(last) = last_use.last_mut() {
        *last = usize::MAX;
    }
    if retention == Retention::Call {
        last_use.fill(usize::MAX);
    }
    let mut activations: Vec<Activation> = Vec::with_capacity(steps.len());
    let mut sizes: Vec<usize> = Vec::new();
    for (number, (&extent, step)) in extents.iter().zip(steps).enumerate() {
        let (precision, zero) = (step.precision, step.grid.zero);
        // In place: a kernel reads each number of the residual before it writes the result to the same address.
        let in_place = |from: &usize| step.input != Some(*from) && extents[*from] == extent;
        let replaced = step.residual().filter(in_place);
        let is_busy = |buffer: usize| {
            let mut holders = activations.iter().zip(&last_use).enumerate();
            holders.any(|(holder, (activation, &last))| {
                let last = last.saturating_add(usize::from(Some(holder) != replaced));
                activation.buffer == buffer && last > number
            })
        };
        let suits = |buffer: usize| {
            let mut holders = activations
                .iter()
                .filter(|activation| activation.buffer == buffer);
            holders.all(|activation| {
                let same = (activation.extent, activation.precision, activation.zero)
                    == (extent, precision, zero);
                same || (activation.extent.border, extent.border) == (0, 0)
            })
        };
        let of_residual = replaced.map(|from| activations[from].buffer);
        let mut choice = of_residual.into_iter().chain(0..sizes.len());
        let free = choice.find(|&buffer| suits(buffer) && !is_busy(buffer));
        let buffer = free.unwrap_or_else(|| {
            sizes.push(0);
            sizes.len() - 1
        });
        let activation = Activation {
            extent,
            precision,
            zero,
            buffer,
        };
        // A multiple of every number's size.
        let bytes = activation.bytes().next_multiple_of(size_of::<f32>());
        sizes[buffer] = sizes[buffer].max(bytes);
        activations.push(activation);
    }
    (activations, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv2d, Shape, grid::Grid};

    fn input() -> Step {
        Step {
            input: None,
            channels: 4,
            precision: Precision::F32,
            grid: Grid::PLAIN,
            operation: Operation::Input,
        }
    }

    fn convolution(input: usize, residual: Option<usize>, kernel: usize) -> Step {
        let shape = Shape {
            out_channels: 4,
            in_channels: 4,
            kernel: (kernel, kernel),
            stride: 1,
            padding: kernel / 2,
            groups: 1,
        };
        let weights = vec![0.0; 16 * kernel * kernel];
        let convolution = Conv2d::new(&weights, &[0.0; 4], shape).unwrap().into();
        Step {
            input: Some(input),
            channels: 4,
            precision: Precision::F32,
            grid: Grid::PLAIN,
            operation: Operation::Convolution {
                convolution,
                residual,
                relu: true,
            },
        }
    }

    #[test]
    fn no_step_overwrites_what_is_still_read() {
        let mut steps = vec![input()];
        for block in 0..3 {
            let entry = 3 * block;
            steps.push(convolution(entry, None, 1));
            steps.push(convolution(entry + 1, None, 3));
            steps.push(convolution(entry + 2, Some(entry), 1));
        }
        let plan = Plan::new(&steps, 5, 7, 2, Retention::LastUse).unwrap();
        for (number, step) in steps.iter().enumerate() {
            for read in step.input.into_iter().chain(step.residual()) {
                let until = number + usize::from(Some(read) != step.residual());
                for written in read + 1..until {
                    assert_ne!(
                        plan.activations[read].buffer,
                        plan.activations[written].buffer
                    );
                }
            }
        }
        for activation in plan
            .activations
            .iter()
            .filter(|activation| activation.extent.border > 0)
        {
            let others = plan
                .activations
                .iter()
                .filter(|p| p.buffer == activation.buffer);
            assert!(
                others
                    .into_iter()
                    .all(|other| other.extent == activation.extent)
            );
        }
        assert_eq!(plan.buffers.len(), 3);
    }

    #[test]
    fn a_residual_stays_where_its_convolution_reads_it_all() {
        let steps = [
            input(),
            convolution(0, Some(0), 1),
            convolution(1, Some(0), 1),
        ];
        let plan = Plan::new(&steps, 5, 7, 2, Retention::LastUse).unwrap();
        let buffers: Vec<usize> = plan
            .activations
            .iter()
            .map(|activation| activation.buffer)
            .collect();
        assert_eq!(buffers, [0, 1, 0]);
    }
}
