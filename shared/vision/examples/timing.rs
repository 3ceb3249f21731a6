//! Milliseconds of one core for each step, over the files named on the command line:
//! `cargo run --release -p sightline-vision --example timing -- tests/samples/*`.

use sightline_manifest::Preprocessing;
use sightline_vision::{Limits, ThumbnailSpec, decode, tensor, thumbnail};
use std::{env, fs, time::Instant};

const ROUNDS: usize = 20;

fn main() {
    println!(
        "{:44} {:>11} {:>8} {:>8} {:>9}",
        "file", "pixels", "decode", "tensor", "thumbnail"
    );
    let (preprocessing, spec, limits) = (
        Preprocessing::default(),
        ThumbnailSpec::default(),
        Limits::default(),
    );
    let mut sums = [0.0; 3];
    let mut files = 0;
    for path in env::args().skip(1) {
        let picture = |bytes: &[u8]| decode(bytes, &limits);
        let Ok((bytes, first)) = fs::read(&path).map(|bytes| (bytes.clone(), picture(&bytes)))
        else {
            continue;
        };
        let first = match first {
            Ok(first) => first,
            Err(error) => {
                println!("{path:44} {error}");
                continue;
            }
        };
        let times = [
            time(|| picture(&bytes).is_ok()),
            time(|| tensor(&first, &preprocessing)),
            time(|| thumbnail(&first, &spec)),
        ];
        let size = format!("{}x{}", first.width(), first.height());
        println!(
            "{path:44} {size:>11} {:8.2} {:8.2} {:9.2}",
            times[0], times[1], times[2]
        );
        sums.iter_mut().zip(times).for_each(|(sum, ms)| *sum += ms);
        files += 1;
    }
    let [decode, tensor, thumbnail] = sums.map(|sum| sum / f64::from(files.max(1)));
    println!(
        "{:44} {:>11} {decode:8.2} {tensor:8.2} {thumbnail:9.2}",
        "mean", ""
    );
}

/// The shortest of some runs, in milliseconds: what the step costs when nobody disturbs it.
fn time<T>(step: impl Fn() -> T) -> f64 {
    let run = |_| {
        let start = Instant::now();
        std::hint::black_box(step());
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..ROUNDS).map(run).fold(f64::INFINITY, f64::min)
}
