//! Affine quantization of activations to 8 bits.

/// Scale and zero point of a quantized tensor: the code `q` (a `u8`) is the value `scale * (q − zero)`. Zero is always
/// represented exactly, as borders and ReLU need.
///
/// Affine quantization as in Jacob et al., [Quantization and Training of Neural Networks for Efficient
/// Integer-Arithmetic-Only Inference](https://arxiv.org/abs/1712.05877), section 2.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub(crate) scale: f32,
    pub(crate) zero: u8,
}

impl Grid {
    /// No quantization: a number is its own value.
    pub(crate) const PLAIN: Self = Self {
        scale: 1.0,
        zero: 0,
    };

    /// The grid with the smallest scale over a calibration range, widened to include zero. Values outside saturate.
    pub fn over(least: f32, largest: f32) -> Self {
        let (least, largest) = (least.min(0.0), largest.max(0.0));
        let span = largest - least;
        if !(span.is_normal() && span.is_finite()) {
            return Self::PLAIN;
        }
        let scale = span / 255.0;
        let zero = (-least / scale).round() as u8;
        Self { scale, zero }
    }

    /// The value of a code, or of a mean of codes.
    pub(crate) fn value(&self, number: f32) -> f32 {
        self.scale * (number - f32::from(self.zero))
    }

    /// Factor and offset: `value * factor + offset`, rounded, is the code of the value.
    pub(crate) fn inverse(&self) -> (f32, f32) {
        (1.0 / self.scale, f32::from(self.zero))
    }
}

/// The quantization of a convolution's activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grids {
    /// Of its input.
    pub input: Grid,
    /// Of the activation that is added, if any.
    pub residual: Option<Grid>,
    /// Of its result.
    pub output: Grid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_holds_zero_and_its_ends() {
        for (least, largest) in [
            (0.0, 3.0),
            (-2.1, 2.6),
            (-4.0, 0.0),
            (0.5, 1.0),
            (-3.0, -1.0),
        ] {
            let grid = Grid::over(least, largest);
            assert_eq!(grid.value(f32::from(grid.zero)), 0.0);
            let (factor, offset) = grid.inverse();
            for value in [least, largest] {
                let byte = (value * factor + offset).round();
                assert!((0.0..=255.0).contains(&byte), "{grid:?} {value}");
                assert!((grid.value(byte) - value).abs() <= grid.scale * 0.5001);
            }
        }
        assert_eq!(Grid::over(0.0, 0.0), Grid::PLAIN);
        assert_eq!(Grid::over(f32::NEG_INFINITY, 1.0), Grid::PLAIN);
    }
}
