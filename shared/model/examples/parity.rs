//! Compares a full-size model with logits that PyTorch computed.
//!
//! `DIR` has `r101.safetensors`, `input.npy` ([n, 3, 224, 224] f32) and `logits.npy` ([n, classes] f32):
//! `cargo run --release -p sightline-model --example parity -- DIR`

use sightline_manifest::{Pixels, Source};
use sightline_model::{Input, Kernels, Options, load};
use std::{env, error::Error, fs, path::Path, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args()
        .nth(1)
        .ok_or("the folder of the reference is missing")?;
    let directory = Path::new(&directory);
    let inputs: Vec<Input> = floats(&directory.join("input.npy"))?
        .chunks_exact(3 * 224 * 224)
        .map(|image| Input {
            shape: [3, 224, 224],
            pixels: Pixels::F32(image.to_vec()),
        })
        .collect();
    let reference = floats(&directory.join("logits.npy"))?;
    for kernels in [Kernels::Fused, Kernels::Candle] {
        let start = Instant::now();
        let source = Source::File(directory.join("r101.safetensors"));
        let model = load(
            &source,
            &Options {
                kernels: Some(kernels),
                ..Options::default()
            },
        )?;
        let loaded = start.elapsed();
        let rows = model.logits(&inputs)?;
        let computed = start.elapsed() - loaded;
        let logits = rows.concat();
        let largest =
            |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |a: f32, b| a.max(b.abs()));
        let scale = largest(&mut reference.iter().copied());
        let difference = largest(&mut logits.iter().zip(&reference).map(|(a, b)| a - b)) / scale;
        let same = rows
            .iter()
            .zip(reference.chunks(rows[0].len()))
            .all(|(a, b)| top(a) == top(b));
        println!(
            "{} {kernels:?}: relative difference {difference:.2e}, top-1 {}, loaded in {loaded:.2?}, {} images in {computed:.2?}",
            model.architecture(),
            if same { "the same" } else { "differs" },
            inputs.len(),
        );
    }
    Ok(())
}

fn top(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
}

/// The values of a little-endian f32 array in NumPy's format: magic, version, length of the header, header, data.
fn floats(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let header = bytes.get(8..10).ok_or("not an .npy file")?;
    let data = bytes
        .get(10 + usize::from(u16::from_le_bytes([header[0], header[1]]))..)
        .ok_or("header cut off")?;
    Ok(data
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}
