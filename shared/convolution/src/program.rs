//! A network of fused convolutions, built once and run as one Candle operation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Tensor, bail};

use crate::convolution::{Conv2d, Shape, Views};
use crate::error::{Error, expect};
use crate::extent::Extent;
use crate::input::{Normalisation, Scaling, Source};
use crate::plan::{Place, Plan, ROWS, Run, Work};
use crate::pooling::{Window, average};
use crate::threads::{Stage, Threads};

/// The result of a step, as [`Builder`] hands it out; good for the builder that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(usize);

pub(crate) struct Step {
    pub(crate) input: Option<usize>,
    pub(crate) channels: usize,
    pub(crate) operation: Operation,
}

pub(crate) enum Operation {
    Input,
    Convolution {
        convolution: Conv2d,
        residual: Option<usize>,
        relu: bool,
    },
    MaxPool(Window),
    Average,
}

impl Step {
    pub(crate) fn residual(&self) -> Option<usize> {
        match self.operation {
            Operation::Convolution { residual, .. } => residual,
            _ => None,
        }
    }

    /// A name, and the multiplications for one image whose result has that extent.
    fn describe(&self, extent: &Extent) -> (String, usize) {
        let Extent { height, width, .. } = *extent;
        match &self.operation {
            Operation::Input => (format!("input {height}×{width}"), 0),
            Operation::MaxPool(_) => (format!("max-pool to {height}×{width}"), 0),
            Operation::Average => ("average".into(), 0),
            Operation::Convolution {
                convolution,
                residual,
                ..
            } => {
                let shape = convolution.shape();
                let (kh, kw) = shape.kernel;
                let (inputs, outputs, stride) =
                    (shape.in_channels, shape.out_channels, shape.stride);
                let plus = if residual.is_some() {
                    " + residual"
                } else {
                    ""
                };
                let name =
                    format!("{kh}×{kw}/{stride} {inputs}→{outputs} to {height}×{width}{plus}");
                (name, extent.pixels() * outputs * inputs * kh * kw)
            }
        }
    }
}

/// One step of a profiled call.
#[derive(Debug, Clone)]
pub struct Timing {
    /// What the step does and the sizes that tell it from others.
    pub name: String,
    /// Multiplications of the step, for the whole batch, by the direct method.
    pub multiplications: u64,
    /// From the end of the step before it, over all images.
    pub time: Duration,
}

/// Describes a network, step by step.
pub struct Builder {
    steps: Vec<Step>,
    scaling: Scaling,
}

impl Builder {
    /// A network over images of `channels` planes.
    pub fn new(channels: usize, normalisation: Normalisation) -> Result<Self, Error> {
        let input = Step {
            input: None,
            channels,
            operation: Operation::Input,
        };
        Ok(Self {
            steps: vec![input],
            scaling: Scaling::new(channels, &normalisation)?,
        })
    }

    /// The images, normalised.
    pub fn input(&self) -> Node {
        Node(0)
    }

    /// `relu(convolution(x) + residual)`, of which ReLU and residual are optional.
    pub fn convolution(
        &mut self,
        x: Node,
        convolution: Conv2d,
        residual: Option<Node>,
        relu: bool,
    ) -> Result<Node, Error> {
        let shape = *convolution.shape();
        expect("convolution's input", shape.in_channels, self.channels(x)?)?;
        if let Some(residual) = residual {
            expect("residual", shape.out_channels, self.channels(residual)?)?;
        }
        let operation = Operation::Convolution {
            convolution,
            residual: residual.map(|node| node.0),
            relu,
        };
        Ok(self.push(x, shape.out_channels, operation))
    }

    /// The largest value of each window.
    pub fn max_pool(&mut self, x: Node, window: Window) -> Result<Node, Error> {
        if window.stride == 0 || window.size == 0 || window.padding > window.size / 2 {
            return Err(Error::Unsupported(format!("max-pool of {window:?}")));
        }
        let channels = self.channels(x)?;
        Ok(self.push(x, channels, Operation::MaxPool(window)))
    }

    /// The mean over all pixels: an image of one pixel.
    pub fn global_average(&mut self, x: Node) -> Result<Node, Error> {
        let channels = self.channels(x)?;
        Ok(self.push(x, channels, Operation::Average))
    }

    /// `weight * x + bias` at each pixel; `weight` is `[outputs, inputs]`, row-major.
    pub fn linear(&mut self, x: Node, weight: &[f32], bias: &[f32]) -> Result<Node, Error> {
        let shape = Shape {
            out_channels: bias.len(),
            in_channels: self.channels(x)?,
            kernel: (1, 1),
            stride: 1,
            padding: 0,
            groups: 1,
        };
        let convolution = Conv2d::new(weight, bias, shape)?;
        self.convolution(x, convolution, None, false)
    }

    /// The program that computes `output`, which must be the last step, on `threads`.
    pub fn build(self, output: Node, threads: Arc<Threads>) -> Result<Program, Error> {
        if output.0 + 1 != self.steps.len() {
            return Err(Error::Unsupported("an output before the last step".into()));
        }
        Ok(Program {
            steps: self.steps,
            scaling: self.scaling,
            threads,
            plan: Mutex::new(None),
        })
    }

    fn channels(&self, node: Node) -> Result<usize, Error> {
        let step = self.steps.get(node.0);
        step.map(|step| step.channels)
            .ok_or_else(|| Error::Unsupported(format!("{node:?} of another network")))
    }

    fn push(&mut self, x: Node, channels: usize, operation: Operation) -> Node {
        self.steps.push(Step {
            input: Some(x.0),
            channels,
            operation,
        });
        Node(self.steps.len() - 1)
    }
}

/// A network with its weights and the arena that its calls share.
///
/// Calls from several threads take turns. The arena grows to the largest batch seen.
pub struct Program {
    steps: Vec<Step>,
    scaling: Scaling,
    threads: Arc<Threads>,
    plan: Mutex<Option<Plan>>,
}

impl Program {
    /// Runs the network on `images`: `[n, channels, height, width]`, `u8` or normalised `f32`, on the
    /// CPU. The result is `f32`: `[n, outputs]` where the last image has one pixel, else
    /// `[n, height, width, outputs]`.
    pub fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        images.contiguous()?.apply_op1_no_bwd(self)
    }

    /// Runs the network as [`Program::forward`] does and tells how long each step took.
    pub fn profile(&self, images: &Tensor) -> candle_core::Result<Vec<Timing>> {
        let batch = images.dim(0)?;
        self.forward(images)?;
        let guard = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(plan) = guard.as_ref() else {
            return Ok(Vec::new());
        };
        let mut times = vec![Duration::ZERO; self.steps.len()];
        for (run, time) in plan.runs.iter().zip(Stage::times(&plan.stages)) {
            times[run.step] += time;
        }
        let steps = self.steps.iter().zip(&plan.places).zip(times);
        Ok(steps
            .map(|((step, place), time)| {
                let (name, multiplications) = step.describe(&place.extent);
                Timing {
                    name,
                    multiplications: (multiplications * batch) as u64,
                    time,
                }
            })
            .collect())
    }

    fn compute(
        &self,
        source: Source,
        [images, height, width]: [usize; 3],
    ) -> candle_core::Result<(Vec<f32>, candle_core::Shape)> {
        let mut guard = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = match guard.take() {
            Some(plan) if plan.fits(images, height, width) => plan,
            _ => Plan::new(&self.steps, height, width, images).map_err(candle_core::Error::msg)?,
        };
        plan.cut(&self.steps, images, self.threads.count());
        let work = |run: usize, chunk: usize| {
            // SAFETY: the plan is for these steps and this many images, `source` was measured by
            // `cpu_fwd`, and the threads start a run only when those before it are done.
            unsafe { self.work(&plan, source, &plan.runs[run], chunk) }
        };
        self.threads.run(&plan.stages, &work);
        let result = self.result(&plan, images);
        *guard = Some(plan);
        Ok(result)
    }

    /// Computes one chunk of a run.
    ///
    /// # Safety
    /// `plan` was made for this program's steps and cut for the number of images that `source` holds in
    /// full; all earlier runs are done; no other call works on the same chunk or a later run.
    unsafe fn work(&self, plan: &Plan, source: Source, run: &Run, chunk: usize) {
        let step = &self.steps[run.step];
        let place = &plan.places[run.step];
        let (output, extent) = (plan.buffers[place.buffer].pointer(), place.extent);
        let from = &plan.places[step.input.unwrap_or(run.step)];
        let input = plan.buffers[from.buffer].pointer().cast_const();
        let image = |n: usize| {
            let floats = from.extent.image();
            // SAFETY: a place's buffer holds its extent for all images of the batch, and an earlier
            // step's is only read until its last reader is done.
            unsafe { std::slice::from_raw_parts(input.add(n * from.extent.stride), floats) }
        };
        let stretch = |n: usize, y: usize, floats: usize| {
            // SAFETY: as above, and only this chunk touches the stretch, which is inside the border.
            unsafe { std::slice::from_raw_parts_mut(output.add(extent.at(n, y, 0)), floats) }
        };
        let first = run.images.start;
        match (&step.operation, &run.work) {
            (
                Operation::Convolution {
                    convolution,
                    residual,
                    relu,
                },
                Work::Convolution(cut),
            ) => {
                let residual = residual.map(|node| {
                    let Place { extent, buffer } = plan.places[node];
                    let start = plan.buffers[buffer].pointer().cast_const();
                    (start.wrapping_add(first * extent.stride), extent)
                });
                let views = Views {
                    input: (input.wrapping_add(first * from.extent.stride), from.extent),
                    output: (output.wrapping_add(first * extent.stride), extent),
                    residual,
                    relu: *relu,
                };
                // SAFETY: the plan gave the input the border and all three the sizes it needs, in
                // buffers of their own; chunks of one cut write disjoint parts.
                unsafe { convolution.compute(&views, cut, chunk) }
            }
            (operation, Work::Rows(rows)) => {
                for row in chunk * ROWS..(chunk * ROWS + ROWS).min(*rows) {
                    let row = first * extent.height + row;
                    let (n, y) = (row / extent.height, row % extent.height);
                    let to = stretch(n, y, extent.width * extent.channels);
                    match operation {
                        Operation::MaxPool(window) => {
                            window.max_row(image(n), &from.extent, y, to);
                        }
                        _ => self.scaling.fill(source, &extent, row, to),
                    }
                }
            }
            _ => {
                let n = first + chunk;
                average(image(n), &from.extent, stretch(n, 0, extent.channels));
            }
        }
    }

    /// Copies the last step's result out of the arena.
    fn result(&self, plan: &Plan, images: usize) -> (Vec<f32>, candle_core::Shape) {
        let place = &plan.places[self.steps.len() - 1];
        let extent = &place.extent;
        let buffer = plan.buffers[place.buffer].as_slice();
        // The result has no reader, hence no border.
        let image = |n: usize| &buffer[n * extent.stride..][..extent.image()];
        let values = (0..images).flat_map(image).copied().collect();
        let shape = if extent.pixels() == 1 {
            (images, extent.channels).into()
        } else {
            (images, extent.height, extent.width, extent.channels).into()
        };
        (values, shape)
    }
}

impl CustomOp1 for Program {
    fn name(&self) -> &'static str {
        "sightline-convolution"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        if channels != self.steps[0].channels {
            let expected = self.steps[0].channels;
            bail!("images have {channels} planes where the network takes {expected}");
        }
        if images * height * width == 0 {
            bail!("no pixels in {:?}", layout.shape());
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("the images' memory is not contiguous");
        };
        let source = match storage {
            CpuStorage::U8(bytes) => Source::Bytes(&bytes[start..end]),
            CpuStorage::F32(floats) => Source::Floats(&floats[start..end]),
            other => bail!("images of {:?}; u8 or f32 is needed", other.dtype()),
        };
        let (values, shape) = self.compute(source, [images, height, width])?;
        Ok((CpuStorage::F32(values), shape))
    }
}
