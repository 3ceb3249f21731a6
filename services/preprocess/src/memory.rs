//! How much memory images may take while they are decoded, where the settings don't say.

use crate::settings::ImageSettings;
use sightline_stream::LoopSettings;

/// What the service itself takes, beside the bytes of images and records: its code, the clients of Kafka and S3, and what
/// their allocator keeps.
const SERVICE: u64 = 160 << 20;

/// What a decoder takes before it has an image.
const DECODER: u64 = 16 << 20;

/// What one image at the limit of pixels takes: three bytes a pixel of a JPEG, coefficients of two bytes for each of its
/// three channels where it comes in several scans, and the resizing.
const BYTES_PER_PIXEL: u64 = 12;

/// What the settings say of the memory for decoding, or what the process's memory limit leaves; in bytes.
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

/// The memory limit less all that has a bound of its own, and no more than each decoder could use.
fn for_decoding(images: &ImageSettings, looping: &LoopSettings, limit: u64) -> u64 {
    let decoders = images.threads().get() as u64;
    let allowance = crate::decoding::ALLOWANCE;
    let fixed = SERVICE
        + images.max_held_bytes
        + looping.max_in_flight_bytes as u64
        + (looping.prefetch_kbytes as u64 * 1024)
        // One more than there are threads is kept ready.
        + (decoders + 1) * DECODER
        + decoders * allowance;
    let useful = decoders * largest(images) * 2;
    limit
        .saturating_sub(fixed)
        .clamp(allowance, useful.max(allowance))
}

/// Bytes that an image at the limit of pixels takes.
fn largest(images: &ImageSettings) -> u64 {
    images.max_pixels.saturating_mul(BYTES_PER_PIXEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_manifests_has_room_for_an_image_at_the_limit_of_pixels() {
        let images = ImageSettings {
            decode_threads: std::num::NonZero::new(2),
            ..ImageSettings::defaults()
        };
        let room = for_decoding(&images, &LoopSettings::defaults(), 2 << 30);
        assert!(room >= largest(&images), "{room}");
    }

    #[test]
    fn too_little_is_still_something() {
        let images = ImageSettings::defaults();
        let room = for_decoding(&images, &LoopSettings::defaults(), 1 << 20);
        assert_eq!(room, crate::decoding::ALLOWANCE);
    }
}
