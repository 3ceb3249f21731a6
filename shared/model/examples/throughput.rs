//! How many images a second the bundled model, or another, computes.
//!
//! `cargo run --release -p sightline-model --example throughput -- [SOURCE] [THREADS]`

use sightline_model::{Input, Options, Pixels, Source, load};
use std::{env, error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let source: Source = arguments.next().as_deref().unwrap_or("bundled").parse()?;
    let threads = arguments
        .next()
        .map(|threads| threads.parse())
        .transpose()?;
    let model = load(
        &source,
        &Options {
            threads,
            ..Options::default()
        },
    )?;
    let shape = model.input_shape();
    let image = Input {
        shape,
        pixels: Pixels::U8(vec![128; shape.iter().product()].into()),
    };
    for batch in [1, 2, 4, 8, 16] {
        let inputs = vec![image.clone(); batch];
        model.logits(&inputs)?;
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < 5 || start.elapsed().as_secs_f32() < 1.0 {
            let start = Instant::now();
            model.logits(&inputs)?;
            times.push(start.elapsed());
        }
        times.sort();
        let median = times[times.len() / 2];
        let rate = batch as f64 / median.as_secs_f64();
        println!(
            "batch {batch:2}: median {median:.2?}, minimum {:.2?}, {rate:.1} images/s",
            times[0]
        );
    }
    Ok(())
}
