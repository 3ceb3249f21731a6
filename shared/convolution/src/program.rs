//! A network of fused convolutions, built once and run as one Candle operation.

use crate::{
    element::Element,
    extent::{Extent, Views},
    input::{Scaling, Source},
    plan::{Plan, ROWS, Retention, Run, Work},
    pooling::average,
    precision::Precision,
    step::{Node, Operation, Step},
    threads::{Stage, Threads},
};
use candle_core::{CpuStorage, CustomOp1, Layout, Tensor, backend::BackendStorage, bail};
use half::bf16;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// One step of a profiled call.
#[derive(Debug, Clone)]
pub struct Timing {
    /// The operation and its dimensions.
    pub name: String,
    /// Multiplications of the step by the direct method, for the whole batch.
    pub multiplications: u64,
    /// Wall-clock time, summed over all images.
    pub time: Duration,
}

/// The calibration range of each node: the least and the largest value, zero included.
#[derive(Debug, Clone)]
pub struct Ranges(Vec<(f32, f32)>);

impl Ranges {
    /// Least and largest value of a node; `(0.0, 0.0)` for a node of another builder.
    pub fn of(&self, node: Node) -> (f32, f32) {
        self.0.get(node.0).copied().unwrap_or_default()
    }
}

/// A network with its weights and an arena for activations.
///
/// Concurrent calls run one after the other. The arena grows to the largest batch seen.
pub struct Program {
    steps: Vec<Step>,
    scaling: Scaling,
    threads: Arc<Threads>,
    plan: Mutex<Option<Plan>>,
}

impl Program {
    pub(crate) fn new(steps: Vec<Step>, scaling: Scaling, threads: Arc<Threads>) -> Self {
        Self {
            steps,
            scaling,
            threads,
            plan: Mutex::new(None),
        }
    }

    /// Runs the network on `images`: `[n, channels, height, width]`, `u8` or normalised `f32`, on the CPU. The result
    /// is `f32`: `[n, outputs]` if the last step has one pixel, else `[n, height, width, outputs]`.
    ///
    /// Fails if the channels or the number format differ, or if the images are too small for the network.
    pub fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        images.contiguous()?.apply_op1_no_bwd(self)
    }

    /// Runs [`Program::forward`] and returns the time of each step.
    pub fn profile(&self, images: &Tensor) -> candle_core::Result<Vec<Timing>> {
        let batch = images.dim(0)?;
        self.forward(images)?;
        let guard = self.plan.lock();
        let Some(plan) = guard.as_ref() else {
            return Ok(Vec::new());
        };
        let mut times = vec![Duration::ZERO; self.steps.len()];
        for (run, time) in plan.runs.iter().zip(Stage::times(&plan.stages)) {
            times[run.step] += time;
        }
        let steps = self.steps.iter().zip(&plan.activations).zip(times);
        Ok(steps
            .map(|((step, activation), time)| {
                let (name, multiplications) = step.describe(&activation.extent);
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
        let mut guard = self.plan.lock();
        let mut plan = match guard.take() {
            Some(plan) if plan.fits(images, height, width) => plan,
            _ => Plan::new(&self.steps, height, width, images, Retention::LastUse)
                .map_err(candle_core::Error::msg)?,
        };
        // SAFETY: `cpu_fwd` checked that `source` holds so many images of this size.
        unsafe { self.run(&mut plan, source, images) };
        let result = self.result(&plan, images);
        *guard = Some(plan);
        Ok(result)
    }

    /// Computes all steps.
    ///
    /// # Safety
    /// The plan is for this program's steps, and for as many images and of the size that `source` holds in full.
    unsafe fn run(&self, plan: &mut Plan, source: Source, images: usize) {
        plan.cut(&self.steps, images, self.threads.count());
        let work = |run: usize, chunk: usize| {
            // SAFETY: as the caller promises, and the threads start a run only when those before it are done.
            unsafe { self.work(plan, source, &plan.runs[run], chunk) }
        };
        self.threads.run(&plan.stages, &work);
    }

    /// Measures calibration ranges: each node's least and largest value over `images`, `u8` of
    /// `[n, channels, height, width]`. Fails for programs that are not in f32.
    pub fn ranges(&self, images: &Tensor) -> candle_core::Result<Ranges> {
        if let Some(step) = self.steps.iter().find(|s| s.precision != Precision::F32) {
            bail!("ranges of activations in {}", step.precision);
        }
        let (count, channels, height, width) = images.dims4()?;
        if channels != self.steps[0].channels || count == 0 {
            bail!(
                "images of {:?}: {} channels expected",
                images.shape(),
                self.steps[0].channels
            );
        }
        let bytes = images.flatten_all()?.to_vec1::<u8>()?;
        let mut plan = Plan::new(&self.steps, height, width, count, Retention::Call)
            .map_err(candle_core::Error::msg)?;
        // SAFETY: the tensor's sizes are the plan's, and its bytes are as many as they say.
        unsafe { self.run(&mut plan, Source::Bytes(&bytes), count) };
        let range = |step: usize| {
            let images = (0..count).flat_map(|n| {
                // SAFETY: all runs are done, and every activation is f32.
                unsafe { plan.numbers::<f32>(step, n) }
            });
            images.fold((0.0f32, 0.0f32), |(least, largest), value| {
                (least.min(*value), largest.max(*value))
            })
        };
        Ok(Ranges((0..self.steps.len()).map(range).collect()))
    }

    /// Computes one chunk of a run.
    ///
    /// # Safety
    /// `plan` was made for this program's steps and cut for the number of images that `source` holds in
    /// full; all earlier runs are done; no other call works on the same chunk or a later run.
    unsafe fn work(&self, plan: &Plan, source: Source, run: &Run, chunk: usize) {
        let step = &self.steps[run.step];
        let input = step.input.unwrap_or(run.step);
        match (&step.operation, &run.work) {
            (
                Operation::Convolution {
                    convolution,
                    residual,
                    relu,
                },
                Work::Convolution(cut),
            ) => {
                let view = |node: usize| {
                    let extent = plan.activations[node].extent;
                    (plan.image(node, run.images.start), extent)
                };
                let reading = |node: usize| {
                    let (start, extent) = view(node);
                    (start.cast_const(), extent)
                };
                let views = Views {
                    input: reading(input),
                    output: view(run.step),
                    residual: residual.map(reading),
                    relu: *relu,
                };
                // SAFETY: the plan gave the input the border and all three the sizes and the precision that it
                // needs, in buffers of their own; chunks of one cut write disjoint parts.
                unsafe { convolution.compute(&views, cut, chunk) }
            }
            (_, Work::Rows(rows)) => {
                let rows = chunk * ROWS..(chunk * ROWS + ROWS).min(*rows);
                // SAFETY: as the caller promises.
                unsafe {
                    match step.precision {
                        Precision::F32 => self.rows::<f32>(plan, source, run, rows),
                        Precision::Bf16 => self.rows::<bf16>(plan, source, run, rows),
                        Precision::Int8 => self.rows::<u8>(plan, source, run, rows),
                    }
                }
            }
            _ => {
                let n = run.images.start + chunk;
                let extent = &plan.activations[input].extent;
                // SAFETY: as the caller promises; an average is one pixel, and its image this chunk's own.
                unsafe {
                    let to = plan.image(run.step, n).cast::<f32>();
                    let to = std::slice::from_raw_parts_mut(to, step.channels);
                    let Step {
                        precision, grid, ..
                    } = self.steps[input];
                    match precision {
                        Precision::F32 => average(plan.numbers::<f32>(input, n), extent, grid, to),
                        Precision::Bf16 => {
                            average(plan.numbers::<bf16>(input, n), extent, grid, to);
                        }
                        Precision::Int8 => average(plan.numbers::<u8>(input, n), extent, grid, to),
                    }
                }
            }
        }
    }

    /// Computes rows of an input or pooling step; `rows` counts from the run's first image on.
    ///
    /// # Safety
    /// As [`Program::work`], for a step whose precision is that of `E`.
    unsafe fn rows<E: Element>(
        &self,
        plan: &Plan,
        source: Source,
        run: &Run,
        rows: std::ops::Range<usize>,
    ) {
        let step = &self.steps[run.step];
        let extent = &plan.activations[run.step].extent;
        for row in rows {
            let row = run.images.start * extent.height + row;
            let (n, y) = (row / extent.height, row % extent.height);
            // SAFETY: a row inside the border, which only this chunk touches.
            let to = unsafe {
                let start = plan.image(run.step, n).cast::<E>().add(extent.at(0, y, 0));
                std::slice::from_raw_parts_mut(start, extent.width * extent.channels)
            };
            match (&step.operation, step.input) {
                (Operation::MaxPool(window), Some(input)) => {
                    // SAFETY: an earlier step's result, of this step's precision.
                    let image = unsafe { plan.numbers::<E>(input, n) };
                    window.max_row(image, &plan.activations[input].extent, y, to);
                }
                _ => self.scaling.fill(source, extent, row, to),
            }
        }
    }

    /// Copies the last step's result out of the arena, as f32.
    fn result(&self, plan: &Plan, images: usize) -> (Vec<f32>, candle_core::Shape) {
        let last = self.steps.len() - 1;
        let Extent {
            height,
            width,
            channels,
            ..
        } = plan.activations[last].extent;
        let mut values = Vec::with_capacity(images * height * width * channels);
        for n in 0..images {
            // SAFETY: all runs are done. The result has no reader, hence no border.
            unsafe {
                match self.steps[last].precision {
                    Precision::F32 => values.extend_from_slice(plan.numbers::<f32>(last, n)),
                    Precision::Bf16 => {
                        values.extend(plan.numbers::<bf16>(last, n).iter().map(|v| v.value()));
                    }
                    Precision::Int8 => {
                        let value = |byte: &u8| self.steps[last].grid.value(byte.value());
                        values.extend(plan.numbers::<u8>(last, n).iter().map(value));
                    }
                }
            }
        }
        let shape = match (height, width) {
            (1, 1) => (images, channels).into(),
            _ => (images, height, width, channels).into(),
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
