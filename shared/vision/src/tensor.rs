//! A picture as the input of a model.

use crate::{Picture, geometry, resample::resample};
use sightline_manifest::Preprocessing;

/// A picture with its channels first: all red values, then all green, then all blue, each row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    /// `[3, height, width]`.
    pub shape: [usize; 3],
    /// The values: `3 * height * width` of them.
    pub data: Vec<T>,
}

/// The picture resized and cropped, with values from 0 to 255. Not normalised: the model does that. Only the part that
/// the
/// crop shows is resized.
///
/// `preprocessing` must be one without [`problems`](Preprocessing::problems).
pub fn tensor(picture: &Picture, preprocessing: &Preprocessing) -> Tensor<u8> {
    let [height, width] = preprocessing.size;
    let window = geometry::window((picture.width(), picture.height()), preprocessing);
    let target = (width as u32, height as u32);
    let rgb = resample(picture, window, target, preprocessing.interpolation);
    let mut data = vec![0; rgb.len()];
    let (red, rest) = data.split_at_mut(width * height);
    let (green, blue) = rest.split_at_mut(width * height);
    let (pixels, _) = rgb.as_chunks::<3>();
    for (((pixel, r), g), b) in pixels.iter().zip(red).zip(green).zip(blue) {
        [*r, *g, *b] = *pixel;
    }
    Tensor {
        shape: [3, height, width],
        data,
    }
}

/// [`tensor`], scaled to 0…1 and normalised by mean and standard deviation.
pub fn tensor_f32(picture: &Picture, preprocessing: &Preprocessing) -> Tensor<f32> {
    let Tensor { shape, data } = tensor(picture, preprocessing);
    let channels = data.chunks_exact(shape[1] * shape[2]);
    let normalised = channels
        .zip(preprocessing.mean.iter().zip(&preprocessing.std))
        .flat_map(|(channel, (mean, std))| {
            channel
                .iter()
                .map(move |&v| (f32::from(v) / 255.0 - mean) / std)
        });
    Tensor {
        shape,
        data: normalised.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_first() {
        let picture = Picture::from_rgb(2, 2, [10, 20, 30].repeat(4)).unwrap();
        let preprocessing = Preprocessing {
            size: [3, 2],
            ..Preprocessing::default()
        };
        let Tensor { shape, data } = tensor(&picture, &preprocessing);
        assert_eq!(shape, [3, 3, 2]);
        assert_eq!(data, [[10; 6], [20; 6], [30; 6]].concat());
    }

    #[test]
    fn normalised_as_torchvision_does() {
        let picture = Picture::from_rgb(1, 1, vec![255, 0, 51]).unwrap();
        let preprocessing = Preprocessing {
            size: [1, 1],
            ..Preprocessing::default()
        };
        let data = tensor_f32(&picture, &preprocessing).data;
        let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
        assert!(
            data.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{data:?}"
        );
    }

    #[test]
    fn extreme_proportions_are_fine() {
        let preprocessing = Preprocessing::default();
        for (width, height) in [(1, 5000), (5000, 1), (1, 1), (3, 2)] {
            let rgb = vec![7; 3 * width as usize * height as usize];
            let picture = Picture::from_rgb(width, height, rgb).unwrap();
            assert!(
                tensor(&picture, &preprocessing)
                    .data
                    .iter()
                    .all(|&v| v == 7),
                "{width}×{height}"
            );
        }
    }
}
