//! Times every distinct layer shape of a ResNet-101 with random weights, and the whole network.
//!
//! `cargo run --release -p sightline-convolution --example layers -- [width 64] [batch 1] [threads 2]
//! [rounds 20] [precision f32]` prints, for each shape, how often it occurs, its least time, and its share of the
//! register peak, measured in the same run.

use candle_core::{Device, Tensor};
use sightline_convolution::{
    Builder, Conv2d, Grid, Grids, Isa, Node, Normalisation, Precision, Program, Shape, Threads,
    Timing, Window, peak,
};
use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let argument = |at: usize, default: usize| match std::env::args().nth(at) {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let (width, batch) = (argument(1, 64)?, argument(2, 1)?);
    let (threads, rounds) = (Threads::new(argument(3, 2)?), argument(4, 20)?);
    let precision = std::env::args()
        .nth(5)
        .map_or(Ok(Precision::F32), |text| text.parse())?;
    let isa = Isa::of(precision).ok_or("this processor lacks the instructions")?;
    let peak = peak(isa, &threads, 20);
    println!(
        "{isa:?}, {} threads, peak {:.1} G operations/s",
        threads.count(),
        peak / 1e9
    );

    let program = resnet101(isa, width, threads)?;
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    let images: Vec<u8> = (0..batch * 3 * 224 * 224).map(noise).collect();
    let images = Tensor::from_vec(images, (batch, 3, 224, 224), &Device::Cpu)?;
    program.forward(&images)?;

    let mut profiles = Vec::new();
    let mut whole = Vec::new();
    for _ in 0..rounds {
        profiles.push(program.profile(&images)?);
        let start = Instant::now();
        program.forward(&images)?;
        whole.push(start.elapsed());
    }
    let operations = print_layers(&profiles, peak);
    whole.sort();
    for (name, time) in [("least", whole[0]), ("median", whole[whole.len() / 2])] {
        let seconds = time.as_secs_f64();
        println!(
            "whole network, {name}: {:.2} ms, {:.1} images/s, {:.1} % of peak",
            seconds * 1e3,
            batch as f64 / seconds,
            100.0 * operations / seconds / peak
        );
    }
    Ok(())
}

/// Prints a line a distinct shape; returns the operations of one call.
fn print_layers(profiles: &[Vec<Timing>], peak: f64) -> f64 {
    let mut shapes: BTreeMap<&str, (u32, Duration, u64)> = BTreeMap::new();
    for (step, timing) in profiles[0].iter().enumerate() {
        let least = profiles.iter().map(|p| p[step].time).min();
        let shape = shapes.entry(&timing.name).or_default();
        shape.0 += 1;
        shape.1 += least.unwrap_or_default();
        shape.2 += timing.multiplications;
    }
    let mut shapes: Vec<_> = shapes.into_iter().collect();
    shapes.sort_by_key(|(_, (_, time, _))| std::cmp::Reverse(*time));
    println!(
        "{:>9} {:>9} {:>9} {:>7}  layer",
        "total ms", "each µs", "GFLOP/s", "peak %"
    );
    let mut all = (Duration::ZERO, 0.0);
    for (name, (count, time, multiplications)) in shapes {
        let operations = 2.0 * multiplications as f64;
        let rate = operations / time.as_secs_f64();
        println!(
            "{:9.3} {:9.1} {:9.1} {:7.1}  {count:2} of {name}",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() * 1e6 / f64::from(count),
            rate / 1e9,
            100.0 * rate / peak
        );
        all = (all.0 + time, all.1 + operations);
    }
    println!("{:9.3} sum of the least times", all.0.as_secs_f64() * 1e3);
    all.1
}

fn resnet101(isa: Isa, width: usize, threads: std::sync::Arc<Threads>) -> Result<Program> {
    let mut net = Builder::new(3, Normalisation::default(), isa.precision())?;
    let images = net.input();
    let x = layer(isa, &mut net, images, (3, width, 7, 2), None, true)?;
    let window = Window {
        size: 3,
        stride: 2,
        padding: 1,
    };
    let mut x = net.max_pool(x, window)?;
    let mut channels = width;
    for (stage, blocks) in [3, 4, 23, 3].into_iter().enumerate() {
        let planes = width << stage;
        for block in 0..blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let skip = match block {
                0 => layer(
                    isa,
                    &mut net,
                    x,
                    (channels, 4 * planes, 1, stride),
                    None,
                    false,
                )?,
                _ => x,
            };
            let y = layer(isa, &mut net, x, (channels, planes, 1, 1), None, true)?;
            let y = layer(isa, &mut net, y, (planes, planes, 3, stride), None, true)?;
            x = layer(
                isa,
                &mut net,
                y,
                (planes, 4 * planes, 1, 1),
                Some(skip),
                true,
            )?;
            channels = 4 * planes;
        }
    }
    let x = net.global_average(x)?;
    let x = net.linear(x, &vec![0.01; 1000 * channels], &[0.0; 1000])?;
    Ok(net.build(x, threads)?)
}

/// `(inputs, outputs, kernel, stride)`; weights small enough that no sum runs away.
fn layer(
    isa: Isa,
    net: &mut Builder,
    x: Node,
    (in_channels, out_channels, kernel, stride): (usize, usize, usize, usize),
    residual: Option<Node>,
    relu: bool,
) -> Result<Node> {
    let shape = Shape {
        out_channels,
        in_channels,
        kernel: (kernel, kernel),
        stride,
        padding: kernel / 2,
        groups: 1,
    };
    let inputs = in_channels * kernel * kernel;
    let factor = |i: usize| (((i * 7919) % 1000) as f32 / 500.0 - 1.0) / inputs as f32;
    let weight: Vec<f32> = (0..out_channels * inputs).map(factor).collect();
    let bias = vec![0.1; out_channels];
    let conv = match isa.precision() {
        Precision::Int8 => {
            let grids = Grids {
                input: net.grid(x)?,
                residual: residual.map(|node| net.grid(node)).transpose()?,
                output: Grid::over(if relu { 0.0 } else { -1.0 }, 1.0),
            };
            Conv2d::quantised(&weight, &bias, shape, grids)?
        }
        _ => Conv2d::for_isa(isa, &weight, &bias, shape)?,
    };
    Ok(net.convolution(x, conv, residual, relu)?)
}
