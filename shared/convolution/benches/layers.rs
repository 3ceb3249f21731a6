//! Benchmark of every distinct convolution of a full-width ResNet-101 on 224×224 images, for one image and for eight, in
//! each precision that the processor has.
//!
//! `cargo bench -p sightline-convolution -- int8/1/3×3` runs what matches, on two threads. The time is that of the
//! convolution alone, from [`Program::profile`]: its input is in the cache, its weights are not. Throughput counts
//! multiplications by the direct method.

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sightline_convolution::{
    Builder, Conv2d, Error, Grid, Grids, Isa, Node, Normalisation, Precision, Program, Shape,
    Threads,
};
use std::{sync::Arc, time::Duration};

/// Kernel, stride, inputs, outputs, side of the input, and whether a residual is added.
const LAYERS: [(usize, usize, usize, usize, usize, bool); 24] = [
    (7, 2, 3, 64, 224, false),
    (1, 1, 64, 64, 56, false),
    (3, 1, 64, 64, 56, false),
    (1, 1, 64, 256, 56, false),
    (1, 1, 64, 256, 56, true),
    (1, 1, 256, 64, 56, false),
    (1, 1, 256, 128, 56, false),
    (3, 2, 128, 128, 56, false),
    (1, 2, 256, 512, 56, false),
    (1, 1, 128, 512, 28, true),
    (1, 1, 512, 128, 28, false),
    (3, 1, 128, 128, 28, false),
    (1, 1, 512, 256, 28, false),
    (3, 2, 256, 256, 28, false),
    (1, 2, 512, 1024, 28, false),
    (1, 1, 256, 1024, 14, true),
    (1, 1, 1024, 256, 14, false),
    (3, 1, 256, 256, 14, false),
    (1, 1, 1024, 512, 14, false),
    (3, 2, 512, 512, 14, false),
    (1, 2, 1024, 2048, 14, false),
    (1, 1, 512, 2048, 7, true),
    (1, 1, 2048, 512, 7, false),
    (3, 1, 512, 512, 7, false),
];

fn layers(criterion: &mut Criterion) {
    let threads = Threads::new(2);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let Some(isa) = Isa::of(precision) else {
            eprintln!("{precision}: not on this processor");
            continue;
        };
        for batch in [1, 8] {
            let mut group = criterion.benchmark_group(format!("{precision}/{batch}"));
            group
                .sample_size(10)
                .measurement_time(Duration::from_secs(1));
            group.warm_up_time(Duration::from_millis(300));
            for layer in LAYERS {
                let (kernel, stride, inputs, outputs, side, residual) = layer;
                let plus = if residual { "+residual" } else { "" };
                let name = format!("{kernel}×{kernel}/{stride} {inputs}→{outputs} at {side}{plus}");
                // Made when it is first measured, so that a filter costs nothing for the rest.
                let mut made = None;
                let out = side.div_ceil(stride);
                let work = batch * out * out * inputs * outputs * kernel * kernel;
                group.throughput(Throughput::Elements(work as u64));
                group.bench_function(name, |bencher| {
                    let program = made.get_or_insert_with(|| {
                        program(isa, layer, threads.clone()).expect("the shapes fit each other")
                    });
                    let dims = (batch, inputs, side, side);
                    let images = Tensor::zeros(dims, DType::U8, &Device::Cpu).expect("memory");
                    bencher.iter_custom(|iterations| {
                        let time = |_| {
                            let steps = program.profile(&images).expect("a fitting image");
                            steps.last().map_or(Duration::ZERO, |step| step.time)
                        };
                        (0..iterations).map(time).sum()
                    });
                });
            }
        }
    }
}

/// The convolution as the last step, after one that makes its residual.
fn program(
    isa: Isa,
    (kernel, stride, inputs, outputs, _, residual): (usize, usize, usize, usize, usize, bool),
    threads: Arc<Threads>,
) -> Result<Program, Error> {
    let shape = Shape {
        out_channels: outputs,
        in_channels: inputs,
        kernel: (kernel, kernel),
        stride,
        padding: kernel / 2,
        groups: 1,
    };
    let mut net = Builder::new(inputs, Normalisation::default(), isa.precision())?;
    let x = net.input();
    let residual = if residual {
        let conv = convolution(isa, shape, &net, x, None)?;
        Some(net.convolution(x, conv, None, true)?)
    } else {
        None
    };
    let conv = convolution(isa, shape, &net, x, residual)?;
    let y = net.convolution(x, conv, residual, true)?;
    net.build(y, threads)
}

fn convolution(
    isa: Isa,
    shape: Shape,
    net: &Builder,
    x: Node,
    residual: Option<Node>,
) -> Result<Conv2d, Error> {
    let taps = shape.in_channels * shape.kernel.0 * shape.kernel.1;
    let weight: Vec<f32> = (0..shape.out_channels * taps)
        .map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5)
        .collect();
    let bias = vec![0.1; shape.out_channels];
    if isa.precision() != Precision::Int8 {
        return Conv2d::for_isa(isa, &weight, &bias, shape);
    }
    let grids = Grids {
        input: net.grid(x)?,
        residual: residual.map(|node| net.grid(node)).transpose()?,
        output: Grid::over(0.0, 1.0),
    };
    Conv2d::quantised(&weight, &bias, shape, grids)
}

criterion_group!(benches, layers);
criterion_main!(benches);
