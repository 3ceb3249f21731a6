//! The memory that images may take while they are decoded, computed from the process's memory limit unless set.

use crate::settings::ImageSettings;
use sightline_stream::LoopSettings;

/// What the service takes besides images and records, in bytes: its code, the clients of Kafka and S3, and memory that the
/// allocator keeps.
const SERVICE: u64 = 160 << 20;

/// What a decoder takes before its first image, in bytes.
const DECODER: u64 = 16 << 20;

/// What an image takes for each of its pixels, in bytes: 3 for the pixel, 6 for the coefficients of a progressive JPEG (2
/// for each of 3 channels), and the rest for resizing.
const BYTES_PER_PIXEL: u64 = 12;

/// `--decode-memory`, or what the process's memory limit leaves for decoding, in bytes.
pub(crate) fn decode_memory(images: &ImageSettings, looping: &LoopSettings) -> u64 {
    let bytes = images.decode_memory.unwrap_or_else(|| {
        let limit = sightline_telemetry::memory_limit().unwrap_or(u64::MAX);
        for_decoding(images, looping, limit)
    });
    let (isolation, decoders) = (images.decode_isolation, images.threads());
    tracing::info!(?isolation, decoders, bytes, "memory for decoding");
    let largest = largest(images);
    if bytes < largest {
        tracing::warn!(
            bytes,
            largest,
            "there is less memory for decoding than an image of --max-pixels may take, which is a dead letter then; \
             raise the memory limit or lower --max-pixels"
        );
    }
    bytes
}

/// The memory limit minus everything that has a bound of its own, and at most what all decoders could use.
fn for_decoding(images: &ImageSettings, looping: &LoopSettings, limit: u64) -> u64 {
    let decoders = images.threads().get() as u64;
    let allowance = crate::decoding::ALLOWANCE;
    let fixed = SERVICE
        + images.max_held_bytes
        + looping.max_in_flight_bytes as u64
        + (looping.prefetch_kbytes as u64 * 1024)
        // One decoder more than there are threads is kept ready.
        + (decoders + 1) * DECODER
        + decoders * allowance;
    let useful = decoders * largest(images) * 2;
    limit
        .saturating_sub(fixed)
        .clamp(allowance, useful.max(allowance))
}

/// Bytes that an image of `--max-pixels` takes.
fn largest(images: &ImageSettings) -> u64 {
    images.max_pixels.saturating_mul(BYTES_PER_PIXEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_limit_of_the_manifests_is_enough_for_the_largest_image() {
        let images = ImageSettings {
            decode_threads: std::num::NonZero::new(2),
            ..ImageSettings::defaults()
        };
        let memory = for_decoding(&images, &LoopSettings::defaults(), 2 << 30);
        assert!(memory >= largest(&images), "{memory}");
    }

    #[test]
    fn a_small_memory_limit_leaves_one_allowance() {
        let images = ImageSettings::defaults();
        let memory = for_decoding(&images, &LoopSettings::defaults(), 1 << 20);
        assert_eq!(memory, crate::decoding::ALLOWANCE);
    }
}
