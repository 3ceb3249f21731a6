//! Every kernel against a naive convolution, over drawn shapes, and whole networks against the same.

#![allow(clippy::unwrap_used)]
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use sightline_convolution::{
    Builder, Conv2d, Grid, Grids, Isa, Normalisation, Precision, Shape, Threads, Window,
};

/// An activation `[n, height, width, channels]`.
#[derive(Clone, Debug)]
struct Image {
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    data: Vec<f32>,
}

impl Image {
    fn at(&self, n: usize, y: isize, x: isize, c: usize) -> f32 {
        let inside = |at: isize, size: usize| at >= 0 && at < size as isize;
        if !inside(y, self.h) || !inside(x, self.w) {
            return 0.0;
        }
        self.data[((n * self.h + y as usize) * self.w + x as usize) * self.c + c]
    }

    /// The planes `[n, c, h, w]` that a program takes.
    fn planes(&self) -> Tensor {
        let data = self.data.clone();
        Tensor::from_vec(data, (self.n, self.h, self.w, self.c), &Device::Cpu)
            .and_then(|t| t.permute((0, 3, 1, 2)))
            .and_then(|t| t.contiguous())
            .unwrap()
    }
}

/// Numbers in -1..1 that depend on the seed alone.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn convolve(x: &Image, weight: &[f32], bias: &[f32], shape: &Shape) -> Image {
    let ((kh, kw), p) = (shape.kernel, shape.padding as isize);
    let h = (x.h + 2 * shape.padding - kh) / shape.stride + 1;
    let w = (x.w + 2 * shape.padding - kw) / shape.stride + 1;
    let mut data = Vec::new();
    for pixel in 0..x.n * h * w {
        let (n, y, column) = (pixel / (h * w), pixel / w % h, pixel % w);
        for (o, bias) in bias.iter().enumerate() {
            let mut sum = f64::from(*bias);
            for k in 0..shape.in_channels * kh * kw {
                let (c, ky, kx) = (k / (kh * kw), k / kw % kh, k % kw);
                let from_y = (y * shape.stride + ky) as isize - p;
                let from_x = (column * shape.stride + kx) as isize - p;
                let factor = weight[o * shape.in_channels * kh * kw + k];
                sum += f64::from(x.at(n, from_y, from_x, c)) * f64::from(factor);
            }
            data.push(sum as f32);
        }
    }
    Image {
        n: x.n,
        h,
        w,
        c: bias.len(),
        data,
    }
}

fn max_pool(x: &Image, window: Window) -> Image {
    let size = |input: usize| (input + 2 * window.padding - window.size) / window.stride + 1;
    let (h, w) = (size(x.h), size(x.w));
    let mut data = Vec::new();
    for pixel in 0..x.n * h * w {
        let (n, y, column) = (pixel / (h * w), pixel / w % h, pixel % w);
        for c in 0..x.c {
            let mut largest = f32::NEG_INFINITY;
            for ky in 0..window.size {
                for kx in 0..window.size {
                    let from_y = (y * window.stride + ky) as isize - window.padding as isize;
                    let from_x = (column * window.stride + kx) as isize - window.padding as isize;
                    let inside = |at: isize, size: usize| at >= 0 && at < size as isize;
                    if inside(from_y, x.h) && inside(from_x, x.w) {
                        largest = largest.max(x.at(n, from_y, from_x, c));
                    }
                }
            }
            data.push(largest);
        }
    }
    Image {
        n: x.n,
        h,
        w,
        c: x.c,
        data,
    }
}

fn finish(mut x: Image, residual: Option<&Image>, relu: bool) -> Image {
    for (i, value) in x.data.iter_mut().enumerate() {
        *value += residual.map_or(0.0, |r| r.data[i]);
        if relu {
            *value = value.max(0.0);
        }
    }
    x
}

/// The largest absolute value.
fn largest(x: &Image) -> f32 {
    x.data.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// No element is further off than `tolerance`.
fn assert_within(tolerance: f32, found: &Tensor, expected: &Image, what: &str) {
    let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.data.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(&expected.data).enumerate() {
        assert!(
            (found - expected).abs() < tolerance,
            "{what}: element {i} is {found}, not {expected}"
        );
    }
}

#[derive(Clone, Debug)]
struct Case {
    shape: Shape,
    n: usize,
    h: usize,
    w: usize,
    threads: usize,
    relu: bool,
    residual: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let kernel = prop_oneof![
        Just((1, 1)),
        Just((3, 3)),
        Just((7, 7)),
        (1usize..5, 1usize..5)
    ];
    let channels = prop_oneof![
        1usize..20,
        20usize..150,
        Just(8),
        Just(16),
        Just(32),
        Just(64)
    ];
    let shapes = (channels.clone(), channels, kernel, 1usize..4, 0usize..4).prop_map(
        |(out_channels, in_channels, kernel, stride, padding)| Shape {
            out_channels,
            in_channels,
            kernel,
            stride,
            padding,
            groups: 1,
        },
    );
    let sizes = (1usize..4, 1usize..18, 1usize..18);
    (
        shapes,
        sizes,
        1usize..4,
        any::<bool>(),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(shape, (n, h, w), threads, relu, residual, seed)| Case {
            shape,
            n,
            h: h.max(shape.kernel.0),
            w: w.max(shape.kernel.1),
            threads,
            relu,
            residual,
            seed,
        })
}

/// The number that a bfloat16 can hold and is nearest.
fn nearest_bf16(value: f32) -> f32 {
    half::bf16::from_f32(value).to_f32()
}

/// A 1×1 convolution that gives the drawn one a residual of the right shape, then the drawn one.
fn check(case: &Case, isa: Isa) {
    let shape = case.shape;
    let weights = |shape: &Shape, seed| {
        let taps = shape.kernel.0 * shape.kernel.1 * shape.in_channels;
        (
            noise(seed, shape.out_channels * taps),
            noise(seed + 1, shape.out_channels),
        )
    };
    let rounded = |values: Vec<f32>| match isa.precision() {
        Precision::Bf16 => values.into_iter().map(nearest_bf16).collect(),
        _ => values,
    };
    let pixels = case.n * case.h * case.w;
    let x = Image {
        n: case.n,
        h: case.h,
        w: case.w,
        c: shape.in_channels,
        data: rounded(noise(case.seed, pixels * shape.in_channels)),
    };
    let (weight, bias) = weights(&shape, case.seed >> 1);
    let (other_weight, other_bias) = weights(&shape, case.seed >> 2);
    let (weight, other_weight) = (rounded(weight), rounded(other_weight));

    let normalisation = Normalisation::default();
    let mut net = Builder::new(shape.in_channels, normalisation, isa.precision()).unwrap();
    let conv = |weight: &[f32], bias: &[f32]| Conv2d::for_isa(isa, weight, bias, shape).unwrap();
    let residual = case.residual.then(|| {
        let conv = conv(&other_weight, &other_bias);
        net.convolution(net.input(), conv, None, false).unwrap()
    });
    let y = net
        .convolution(net.input(), conv(&weight, &bias), residual, case.relu)
        .unwrap();
    let program = net.build(y, Threads::new(case.threads)).unwrap();

    let residual = case
        .residual
        .then(|| convolve(&x, &other_weight, &other_bias, &shape));
    let sums = convolve(&x, &weight, &bias, &shape);
    // Inputs and weights are what the kernel has; a residual and the result are rounded to eight bits. What that takes
    // from a large term stays when the terms cancel, so that the terms set the scale, not their sum.
    let share = match isa.precision() {
        // Winograd's method, where it is taken, rounds transformed inputs and weights too, of both convolutions.
        Precision::Bf16 if (shape.kernel, shape.stride) == ((3, 3), 1) => 2e-2,
        Precision::Bf16 => 1e-2,
        _ => 2e-5,
    };
    let scale = residual.as_ref().map_or(0.0, largest).max(largest(&sums));
    let tolerance = share * scale.max(1e-3);
    let expected = finish(sums, residual.as_ref(), case.relu);
    let planes = x.planes();
    for round in 0..2 {
        let found = program.forward(&planes).unwrap();
        let what = format!("{isa:?} {case:?} round {round}");
        assert_within(tolerance, &found, &expected, &what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn each_kernel_agrees_with_the_naive_convolution(case in cases()) {
        for isa in Isa::all_of(Precision::F32) {
            check(&case, isa);
        }
    }

    /// Where the processor has them; `sightline bench model --precision bf16` says whether it does.
    #[test]
    fn bf16_kernels_agree_with_the_naive_convolution(mut case in cases()) {
        case.shape.out_channels = case.shape.out_channels.next_multiple_of(2);
        for isa in Isa::all_of(Precision::Bf16) {
            check(&case, isa);
        }
    }
}

/// As [`check`], with images and weights that bytes hold exactly, so that only results are rounded.
fn check_bytes(case: &Case, isa: Isa) {
    let shape = case.shape;
    let normalisation = Normalisation {
        mean: vec![0.4; shape.in_channels],
        std: vec![0.5; shape.in_channels],
    };
    let mut net = Builder::new(shape.in_channels, normalisation, Precision::Int8).unwrap();
    let input = net.grid(net.input()).unwrap();
    let pixels = case.n * case.h * case.w * shape.in_channels;
    let bytes = noise(case.seed, pixels).into_iter();
    let bytes: Vec<u8> = bytes.map(|v| (127.5 + 127.5 * v) as u8).collect();
    let x = Image {
        n: case.n,
        h: case.h,
        w: case.w,
        c: shape.in_channels,
        data: bytes.iter().map(|b| f32::from(*b) / 127.5 - 0.8).collect(),
    };
    let planes = Tensor::from_vec(bytes, (x.n, x.h, x.w, x.c), &Device::Cpu)
        .and_then(|t| t.permute((0, 3, 1, 2))?.contiguous())
        .unwrap();
    let taps = shape.kernel.0 * shape.kernel.1 * shape.in_channels;
    let weights = |seed| {
        let mut weight = noise(seed, shape.out_channels * taps);
        for (o, filter) in weight.chunks_exact_mut(taps).enumerate() {
            let step = 0.001 * (1 + o % 7) as f32;
            filter
                .iter_mut()
                .for_each(|w| *w = (*w * 127.0).round() * step);
            filter[o % taps] = 127.0 * step;
        }
        (weight, noise(seed + 1, shape.out_channels))
    };
    let range = |image: &Image| {
        let least = image.data.iter().fold(0.0f32, |m, v| m.min(*v));
        let largest = image.data.iter().fold(0.0f32, |m, v| m.max(*v));
        (Grid::over(least, largest), (largest - least) / 255.0)
    };
    let (other_weight, other_bias) = weights(case.seed >> 2);
    let residual = case.residual.then(|| {
        let image = convolve(&x, &other_weight, &other_bias, &shape);
        let (output, step) = range(&image);
        let grids = Grids {
            input,
            residual: None,
            output,
        };
        let conv =
            Conv2d::quantised_for_isa(isa, &other_weight, &other_bias, shape, grids).unwrap();
        let node = net.convolution(net.input(), conv, None, false).unwrap();
        (node, output, image, step)
    });
    let (weight, bias) = weights(case.seed >> 1);
    let image = residual.as_ref().map(|(_, _, image, _)| image);
    let expected = finish(convolve(&x, &weight, &bias, &shape), image, case.relu);
    let (output, step) = range(&expected);
    let grids = Grids {
        input,
        residual: residual.as_ref().map(|(_, grid, ..)| *grid),
        output,
    };
    let conv = Conv2d::quantised_for_isa(isa, &weight, &bias, shape, grids).unwrap();
    let node = residual.as_ref().map(|(node, ..)| *node);
    let y = net.convolution(net.input(), conv, node, case.relu).unwrap();
    let program = net.build(y, Threads::new(case.threads)).unwrap();
    let residual_step = residual.map_or(0.0, |(.., step)| step);
    let tolerance = 0.51 * (step + residual_step) + 1e-5 * (1.0 + largest(&expected));
    for _ in 0..2 {
        let found = program.forward(&planes).unwrap();
        assert_within(tolerance, &found, &expected, &format!("{isa:?} {case:?}"));
    }
}

/// Where the processor has them; `sightline bench model --precision int8` says whether it does.
fn has_bytes() -> bool {
    Isa::of(Precision::Int8).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn kernels_of_bytes_agree_with_the_naive_convolution(mut case in cases()) {
        case.shape.out_channels = case.shape.out_channels.next_multiple_of(4);
        for isa in Isa::all_of(Precision::Int8) {
            check_bytes(&case, isa);
        }
    }
}

#[test]
fn grids_must_fit() {
    if !has_bytes() {
        return;
    }
    let shape = Shape {
        out_channels: 4,
        in_channels: 3,
        kernel: (1, 1),
        stride: 1,
        padding: 0,
        groups: 1,
    };
    let mut net = Builder::new(3, Normalisation::default(), Precision::Int8).unwrap();
    let input = net.grid(net.input()).unwrap();
    let mut add = |input, output, relu| {
        let grids = Grids {
            input,
            residual: None,
            output,
        };
        let conv = Conv2d::quantised(&[0.5; 12], &[0.0; 4], shape, grids).unwrap();
        net.convolution(net.input(), conv, None, relu).map(|_| ())
    };
    assert!(add(input, Grid::over(-1.0, 1.0), false).is_ok());
    assert!(add(input, Grid::over(-1.0, 1.0), true).is_err());
    assert!(add(Grid::over(0.0, 9.0), Grid::over(0.0, 1.0), true).is_err());
    assert!(Conv2d::for_isa(Isa::Avx512Vnni, &[0.5; 12], &[0.0; 4], shape).is_err());
}

#[test]
fn ranges_are_those_of_every_step() {
    let shape = Shape {
        out_channels: 2,
        in_channels: 1,
        kernel: (3, 3),
        stride: 1,
        padding: 1,
        groups: 1,
    };
    let mut net = Builder::new(1, Normalisation::default(), Precision::F32).unwrap();
    let mut weight = [0.0; 18];
    (weight[4], weight[13]) = (2.0, -1.0);
    let conv = Conv2d::new(&weight, &[0.0; 2], shape).unwrap();
    let input = net.input();
    let y = net.convolution(input, conv, None, false).unwrap();
    let x = net.global_average(y).unwrap();
    let program = net.build(x, Threads::new(2)).unwrap();
    let images = Tensor::from_vec(vec![0u8, 255, 0, 255], (1, 1, 2, 2), &Device::Cpu).unwrap();
    let ranges = program.ranges(&images).unwrap();
    let found = [input, y, x].map(|node| ranges.of(node));
    assert_eq!(found, [(0.0, 1.0), (-1.0, 2.0), (-0.5, 1.0)]);
}

/// Shapes that are computed by Winograd's method, with outputs of odd and even sizes.
fn winograd_cases() -> impl Strategy<Value = Case> {
    let channels = (2usize..8).prop_map(|sixteens| 16 * sixteens);
    let sizes = (1usize..4, 3usize..18, 3usize..18, 0usize..4);
    (channels.clone(), channels, sizes, cases()).prop_map(
        |(out_channels, in_channels, (n, h, w, padding), case)| Case {
            shape: Shape {
                out_channels,
                in_channels,
                kernel: (3, 3),
                stride: 1,
                padding,
                groups: 1,
            },
            n,
            h,
            w,
            ..case
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn winograd_agrees_with_the_naive_convolution(case in winograd_cases()) {
        for isa in Isa::all_of(Precision::F32).chain(Isa::all_of(Precision::Bf16)) {
            check(&case, isa);
        }
    }
}

/// A block as in ResNet: stem, pool, bottleneck with a projection, classifier; and a smaller batch in
/// an arena that a larger one left behind.
#[test]
fn a_small_network_agrees_with_the_naive_one() {
    let shape = |out_channels, in_channels, k, stride| Shape {
        out_channels,
        in_channels,
        kernel: (k, k),
        stride,
        padding: k / 2,
        groups: 1,
    };
    let window = Window {
        size: 3,
        stride: 2,
        padding: 1,
    };
    let layers = [
        shape(8, 3, 7, 2),
        shape(12, 8, 1, 1),
        shape(12, 12, 3, 2),
        shape(32, 12, 1, 1),
        shape(32, 8, 1, 2),
        shape(10, 32, 1, 1),
    ];
    let weights: Vec<_> = layers
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let taps = s.kernel.0 * s.kernel.1 * s.in_channels;
            (
                noise(i as u64 + 50, s.out_channels * taps),
                noise(i as u64 + 90, s.out_channels),
            )
        })
        .collect();
    for isa in Isa::all_of(Precision::F32) {
        let mut net = Builder::new(3, Normalisation::default(), Precision::F32).unwrap();
        let conv =
            |i: usize| Conv2d::for_isa(isa, &weights[i].0, &weights[i].1, layers[i]).unwrap();
        let x = net.convolution(net.input(), conv(0), None, true).unwrap();
        let x = net.max_pool(x, window).unwrap();
        let a = net.convolution(x, conv(1), None, true).unwrap();
        let a = net.convolution(a, conv(2), None, true).unwrap();
        let skip = net.convolution(x, conv(4), None, false).unwrap();
        let x = net.convolution(a, conv(3), Some(skip), true).unwrap();
        let x = net.global_average(x).unwrap();
        let x = net.linear(x, &weights[5].0, &weights[5].1).unwrap();
        let program = net.build(x, Threads::new(3)).unwrap();
        for (n, h, w) in [(3, 37, 29), (1, 37, 29), (3, 37, 29), (2, 20, 50)] {
            let images = Image {
                n,
                h,
                w,
                c: 3,
                data: noise(h as u64, n * h * w * 3),
            };
            let step = |x: &Image, i: usize| convolve(x, &weights[i].0, &weights[i].1, &layers[i]);
            let x = max_pool(&finish(step(&images, 0), None, true), window);
            let a = finish(step(&x, 1), None, true);
            let a = finish(step(&a, 2), None, true);
            let skip = step(&x, 4);
            let x = finish(step(&a, 3), Some(&skip), true);
            let mut mean = vec![0.0; n * x.c];
            for (i, value) in x.data.iter().enumerate() {
                mean[i / (x.h * x.w * x.c) * x.c + i % x.c] += value / (x.h * x.w) as f32;
            }
            let mean = Image {
                n,
                h: 1,
                w: 1,
                c: x.c,
                data: mean,
            };
            let logits = program.forward(&images.planes()).unwrap();
            assert_eq!(logits.dims(), [n, 10]);
            let expected = step(&mean, 5);
            assert_within(
                2e-5 * largest(&expected),
                &logits,
                &expected,
                &format!("{isa:?}"),
            );
        }
    }
}

#[test]
fn bytes_are_scaled_and_normalised() {
    let normalisation = Normalisation {
        mean: vec![0.5, 0.25],
        std: vec![0.5, 2.0],
    };
    let mut net = Builder::new(2, normalisation, Precision::F32).unwrap();
    let x = net.global_average(net.input()).unwrap();
    let program = net.build(x, Threads::new(1)).unwrap();
    let images = Tensor::from_vec(
        vec![255u8, 255, 0, 0, 51, 51, 51, 51],
        (1, 2, 2, 2),
        &Device::Cpu,
    );
    let found = program
        .forward(&images.unwrap())
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert!(
        (found[0][0] - 0.0).abs() < 1e-6 && (found[0][1] + 0.025).abs() < 1e-6,
        "{found:?}"
    );
}

#[test]
fn a_profile_names_each_step_and_its_work() {
    let shape = Shape {
        out_channels: 4,
        in_channels: 3,
        kernel: (3, 3),
        stride: 2,
        padding: 1,
        groups: 1,
    };
    let mut net = Builder::new(3, Normalisation::default(), Precision::F32).unwrap();
    let conv = Conv2d::new(&[0.5; 108], &[0.0; 4], shape).unwrap();
    let x = net.convolution(net.input(), conv, None, true).unwrap();
    let x = net.global_average(x).unwrap();
    let program = net.build(x, Threads::new(2)).unwrap();
    let images = Tensor::zeros((2, 3, 8, 8), candle_core::DType::U8, &Device::Cpu).unwrap();
    let steps = program.profile(&images).unwrap();
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["input 8×8", "3×3/2 3→4 to 4×4", "average"]);
    assert_eq!(steps[1].multiplications, 2 * 16 * 4 * 27);
}

#[test]
fn wrong_sizes_are_errors() {
    let shape = Shape {
        out_channels: 4,
        in_channels: 3,
        kernel: (3, 3),
        stride: 1,
        padding: 0,
        groups: 1,
    };
    assert!(Conv2d::new(&[0.0; 107], &[0.0; 4], shape).is_err());
    assert!(Conv2d::new(&[0.0; 108], &[0.0; 3], shape).is_err());
    assert!(Conv2d::new(&[0.0; 108], &[0.0; 4], Shape { groups: 2, ..shape }).is_err());
    let conv = || Conv2d::new(&[0.0; 108], &[0.0; 4], shape).unwrap();
    let mut net = Builder::new(4, Normalisation::default(), Precision::F32).unwrap();
    assert!(net.convolution(net.input(), conv(), None, true).is_err());
    let mut net = Builder::new(3, Normalisation::default(), Precision::F32).unwrap();
    let y = net.convolution(net.input(), conv(), None, true).unwrap();
    let program = net.build(y, Threads::new(2)).unwrap();
    for dims in [(1, 3, 2, 9), (1, 4, 9, 9), (0, 3, 9, 9)] {
        let images = Tensor::zeros(dims, candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(program.forward(&images).is_err(), "{dims:?}");
    }
    let images = Tensor::zeros((1, 3, 9, 9), candle_core::DType::F64, &Device::Cpu).unwrap();
    assert!(program.forward(&images).is_err());
}
