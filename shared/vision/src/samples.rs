//! Conversions to RGB in place.

/// RGBA to RGB. Alpha is dropped, not blended, as by Pillow's `convert("RGB")`. The vector keeps its capacity, because
/// shrinking it may copy all of it.
pub(crate) fn drop_alpha(mut rgba: Vec<u8>) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for at in 0..pixels {
        let [r, g, b] = [rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]];
        rgba[3 * at..3 * at + 3].copy_from_slice(&[r, g, b]);
    }
    rgba.truncate(3 * pixels);
    rgba
}

/// Grey to RGB. The first third of `rgb` contains the grey values.
pub(crate) fn spread_grey(rgb: &mut [u8]) {
    const BLOCK: usize = 1024;
    let pixels = rgb.len() / 3;
    let mut greys = [0; BLOCK];
    // From the end, so that no value is overwritten before it is read.
    for start in (0..pixels).step_by(BLOCK).rev() {
        let end = (start + BLOCK).min(pixels);
        let greys = &mut greys[..end - start];
        greys.copy_from_slice(&rgb[start..end]);
        let (to, _) = rgb[3 * start..3 * end].as_chunks_mut::<3>();
        to.iter_mut()
            .zip(greys)
            .for_each(|(to, grey)| *to = [*grey; 3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_dropped_in_place() {
        assert_eq!(drop_alpha((1..=8).collect()), [1, 2, 3, 5, 6, 7]);
    }

    #[test]
    fn greys_are_spread_in_place() {
        for pixels in [1, 2, 1023, 1024, 1025, 5000] {
            let grey = |at: usize| (at * 7 % 251) as u8;
            let mut rgb: Vec<u8> = (0..pixels).map(grey).collect();
            rgb.resize(3 * pixels, 0);
            spread_grey(&mut rgb);
            let expected: Vec<u8> = (0..pixels).flat_map(|at| [grey(at); 3]).collect();
            assert!(rgb == expected, "{pixels}");
        }
    }
}
