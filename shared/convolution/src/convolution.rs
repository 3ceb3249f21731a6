//! A convolution with packed weights, computed by the method that is fastest for its shape.

use crate::{
    cut::{CHUNK_MACS, CHUNKS_A_THREAD, Cut, part},
    error::{Error, expect},
    extent::{Extent, Views},
    grid::Grids,
    kernels::Isa,
    methods::{Direct, Winograd},
    precision::Precision,
    shape::Shape,
};

/// A two-dimensional convolution with its bias, packed for the kernels of one instruction set.
///
/// Constructors return [`Error::Size`] if weights or bias are not as long as the shape says, and
/// [`Error::Unsupported`] for shapes and instruction sets without a kernel.
pub struct Conv2d {
    shape: Shape,
    precision: Precision,
    grids: Option<Grids>,
    method: Method,
}

enum Method {
    Direct(Direct),
    Winograd(Winograd),
}

impl Conv2d {
    /// Packs `weight` (`[out_channels, in_channels, height, width]`, row-major) and `bias`
    /// (`[out_channels]`) for the best kernels that this machine has.
    pub fn new(weight: &[f32], bias: &[f32], shape: Shape) -> Result<Self, Error> {
        Self::for_isa(Isa::detect(), weight, bias, shape)
    }

    /// As [`Conv2d::new`], for the f32 or bf16 kernels of `isa`.
    pub fn for_isa(isa: Isa, weight: &[f32], bias: &[f32], shape: Shape) -> Result<Self, Error> {
        if isa.precision() == Precision::Int8 {
            return Err(Error::Unsupported("int8 without quantization grids".into()));
        }
        Self::check(isa, weight, bias, &shape)?;
        let method = if Winograd::suits(isa, &shape) {
            Method::Winograd(Winograd::new(isa, weight, bias, &shape))
        } else {
            Method::Direct(Direct::new(isa, weight, bias, &shape))
        };
        Ok(Self {
            shape,
            precision: isa.precision(),
            grids: None,
            method,
        })
    }

    /// A quantized convolution: activations are `u8` on `grids`; weights become `i8` with a scale for each output
    /// channel and a zero point of 0.
    pub fn quantised(
        weight: &[f32],
        bias: &[f32],
        shape: Shape,
        grids: Grids,
    ) -> Result<Self, Error> {
        let isa = Isa::of(Precision::Int8).unwrap_or(Isa::Avx512Vnni);
        Self::quantised_for_isa(isa, weight, bias, shape, grids)
    }

    /// As [`Conv2d::quantised`], for the int8 kernels of `isa`.
    pub fn quantised_for_isa(
        isa: Isa,
        weight: &[f32],
        bias: &[f32],
        shape: Shape,
        grids: Grids,
    ) -> Result<Self, Error> {
        if isa.precision() != Precision::Int8 {
            return Err(Error::Unsupported(format!("int8 on {isa:?}")));
        }
        Self::check(isa, weight, bias, &shape)?;
        Ok(Self {
            shape,
            precision: Precision::Int8,
            method: Method::Direct(Direct::of_bytes(isa, weight, bias, &shape, &grids)),
            grids: Some(grids),
        })
    }

    fn check(isa: Isa, weight: &[f32], bias: &[f32], shape: &Shape) -> Result<(), Error> {
        let (height, width) = shape.kernel;
        if shape.groups != 1 {
            return Err(Error::Unsupported(format!("{} groups", shape.groups)));
        }
        if !isa.available() {
            return Err(Error::Unsupported(format!("{isa:?} on this processor")));
        }
        let least = [
            shape.out_channels,
            shape.in_channels,
            height,
            width,
            shape.stride,
        ];
        if least.contains(&0) {
            return Err(Error::Unsupported(format!("a size of zero in {shape:?}")));
        }
        let inputs = shape.in_channels * height * width;
        expect("weight", shape.out_channels * inputs, weight.len())?;
        expect("bias", shape.out_channels, bias.len())?;
        let precision = isa.precision();
        if precision.stored(shape.out_channels) != shape.out_channels {
            let channels = shape.out_channels;
            return Err(Error::Unsupported(format!(
                "{channels} outputs in {precision:?}"
            )));
        }
        Ok(())
    }

    /// The dimensions that it was made with.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number format of its input and output.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The quantization of its activations, for int8.
    pub(crate) fn grids(&self) -> Option<&Grids> {
        self.grids.as_ref()
    }

    /// The output's height and width; `None` if the kernel exceeds the padded input.
    pub(crate) fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let Shape {
            kernel,
            stride,
            padding,
            ..
        } = self.shape;
        let size = |input: usize, kernel: usize| {
            let last = (input + 2 * padding).checked_sub(kernel)?;
            Some(last / stride + 1)
        };
        Some((size(height, kernel.0)?, size(width, kernel.1)?))
    }

    /// Whether its input may have a gap between pixels.
    pub(crate) fn reads_by_tap(&self) -> bool {
        matches!(&self.method, Method::Direct(direct) if direct.reads_by_tap())
    }

    /// Cuts the work on `images` images for `threads` threads.
    pub(crate) fn cut(
        &self,
        images: usize,
        (input, output): (&Extent, &Extent),
        threads: usize,
    ) -> Cut {
        let Shape {
            kernel,
            in_channels,
            out_channels,
            ..
        } = self.shape;
        let macs = images * output.pixels() * out_channels * in_channels * kernel.0 * kernel.1;
        let worth = |least: usize, a_thread: usize| (macs / least).clamp(1, threads * a_thread);
        match &self.method {
            Method::Direct(direct) => {
                direct.cut(&self.shape, images, (input, output), threads, worth)
            }
            Method::Winograd(winograd) => {
                let wanted = worth(CHUNK_MACS, CHUNKS_A_THREAD);
                winograd.cut(images, output, threads, wanted)
            }
        }
    }

    /// Computes one chunk of `cut`.
    ///
    /// # Safety
    /// The views hold as many images as `cut` was made for, in their extents: the input with a border
    /// of at least the padding, the output of this convolution's size, the residual of the output's.
    /// No other thread writes the input or the residual, or accesses this chunk's part of the output. The residual may
    /// be the output.
    pub(crate) unsafe fn compute(&self, views: &Views, cut: &Cut, chunk: usize) {
        let units = part(cut.units, cut.blocks, chunk / cut.groups);
        let group = (chunk % cut.groups, cut.groups);
        // SAFETY: as the caller promises.
        unsafe {
            match &self.method {
                Method::Direct(direct) => direct.compute(&self.shape, views, units, group),
                Method::Winograd(winograd) => {
                    winograd.compute(self.shape.padding, views, units, group);
                }
            }
        }
    }
}
