//! From an image reference to a tensor and a thumbnail.

use crate::{
    metrics::{PictureMetrics, timed},
    pool::{Panicked, Pool},
    settings::{ImageSettings, TensorType},
};
use bytes::Bytes;
use prometheus_client::registry::Registry;
use sightline_contracts::{ImageRef, Pixels, Reason, TensorMessage, Topic, now_ms};
use sightline_storage::{Error as StorageError, Get, Objects};
use sightline_stream::{Outcome, Output, Record, Rejection, Stage, with_causes};
use sightline_vision::{
    Error as VisionError, Limits, Preprocessing, Tensor, ThumbnailSpec, decode, tensor, tensor_f32,
    thumbnail,
};
use std::{sync::Arc, time::Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The stage function, with its store, its threads and its bounds.
pub struct Preprocess {
    store: Arc<dyn Objects>,
    pool: Pool,
    recipe: Arc<Recipe>,
    max_object_bytes: u64,
    /// Room for objects in memory, in units of [`UNIT`] bytes.
    room: Semaphore,
    metrics: PictureMetrics,
}

/// A semaphore hands out at most 2³² permits at once, so one stands for a kibibyte.
const UNIT: u64 = 1024;

/// What is made of the bytes of an image.
struct Recipe {
    limits: Limits,
    preprocessing: Preprocessing,
    /// The same, as the message carries it.
    described: serde_json::Value,
    tensor_type: TensorType,
    thumbnail: ThumbnailSpec,
}

impl Preprocess {
    /// Fails where the manifest can't be read or no thread can be started.
    pub fn new(
        store: Arc<dyn Objects>,
        settings: &ImageSettings,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        let metrics = PictureMetrics::register(registry);
        let preprocessing = settings.manifest.preprocessing()?;
        let recipe = Recipe {
            limits: settings.limits(),
            // By way of text: f32 printed as it was written, not as the f64 next to it.
            described: serde_json::from_str(&serde_json::to_string(&preprocessing)?)?,
            preprocessing,
            tensor_type: settings.tensor_type,
            thumbnail: settings.thumbnail(),
        };
        Ok(Self {
            store,
            pool: Pool::start(
                settings.threads(),
                settings.decode_queue,
                metrics.queued.clone(),
            )?,
            recipe: Arc::new(recipe),
            max_object_bytes: settings.max_object_bytes,
            room: Semaphore::new(usize::try_from(settings.max_held_bytes.div_ceil(UNIT))?),
            metrics,
        })
    }

    async fn preprocess(&self, record: &Record) -> Result<Output, Outcome> {
        let value = record.value.as_deref().unwrap_or_default();
        let image = ImageRef::from_json(value)
            .map_err(|error| Outcome::reject(Reason::Malformed, with_causes(&error)))?;
        record
            .span
            .record("image_id", tracing::field::display(image.id));
        let expected = self.expected_bytes(&image)?;
        // Held until the bytes are pixels.
        let room = self.reserve(expected).await?;
        let bytes = self.fetch(&image, expected).await?;
        let (recipe, metrics) = (Arc::clone(&self.recipe), self.metrics.clone());
        let parent = record.span.clone();
        let make = move || {
            let span = tracing::debug_span!(parent: &parent, "pixels");
            span.in_scope(|| recipe.make(image, &bytes, &metrics))
        };
        let made = self.pool.run(make).await;
        drop(room);
        made.map_err(|Panicked| {
            Outcome::reject(Reason::Internal, "preprocessing the image panicked")
        })?
        .map_err(|error| Outcome::Reject(unreadable(&error)))
    }

    /// The most bytes that the object may have: what the notification said, where it names one unchangeable object,
    /// else the limit.
    fn expected_bytes(&self, image: &ImageRef) -> Result<u64, Outcome> {
        let limit = self.max_object_bytes;
        match image.size {
            Some(0) => Err(Outcome::reject(Reason::Empty, "the object is empty")),
            Some(size) if size > limit => {
                let error = format!("{size} bytes, more than the limit of {limit}");
                Err(Outcome::reject(Reason::TooLarge, error))
            }
            Some(size) if image.etag.is_some() || image.version.is_some() => Ok(size),
            _ => Ok(limit),
        }
    }

    async fn reserve(&self, bytes: u64) -> Result<Room<'_>, Outcome> {
        let units = u32::try_from(bytes.div_ceil(UNIT))
            .map_err(|_| Outcome::retry("no room for so large an object"))?;
        let permit = self
            .room
            .acquire_many(units)
            .await
            .map_err(|_| Outcome::retry("stopping"))?;
        self.metrics.held.inc_by(i64::from(units) * UNIT as i64);
        Ok(Room {
            permit,
            metrics: &self.metrics,
        })
    }

    async fn fetch(&self, image: &ImageRef, max_bytes: u64) -> Result<Bytes, Outcome> {
        let start = Instant::now();
        let get = Get {
            bucket: &image.bucket,
            key: &image.key,
            version: image.version.as_deref(),
            etag: image.etag.as_deref(),
            max_bytes,
        };
        let object = self
            .store
            .fetch(get)
            .await
            .map_err(|error| unavailable(&error))?;
        self.metrics.fetch.observe(start.elapsed().as_secs_f64());
        self.metrics.fetched.inc_by(object.bytes.len() as u64);
        if object.bytes.is_empty() {
            return Err(Outcome::reject(Reason::Empty, "the object is empty"));
        }
        Ok(object.bytes)
    }
}

impl Stage for Preprocess {
    async fn process(&self, record: Record) -> Outcome {
        match self.preprocess(&record).await {
            Ok(output) => Outcome::Done(vec![output]),
            Err(outcome) => outcome,
        }
    }
}

impl Recipe {
    /// The work on pixels; runs on a thread of the pool.
    fn make(
        &self,
        mut image: ImageRef,
        bytes: &[u8],
        metrics: &PictureMetrics,
    ) -> Result<Output, VisionError> {
        let picture = timed(&metrics.decode, || decode(bytes, &self.limits))?;
        let (shape, pixels) = timed(&metrics.resize, || match self.tensor_type {
            TensorType::U8 => {
                let Tensor { shape, data } = tensor(&picture, &self.preprocessing);
                (shape, Pixels::U8(data.into()))
            }
            TensorType::F32 => {
                let Tensor { shape, data } = tensor_f32(&picture, &self.preprocessing);
                (shape, Pixels::F32(data))
            }
        });
        let thumbnail = timed(&metrics.thumbnail, || thumbnail(&picture, &self.thumbnail));
        image.times.preprocessed_ms = Some(now_ms());
        let key = image.record_key();
        let notified_ms = image.times.notified_ms;
        let preprocessing = self.described.clone();
        let message = TensorMessage {
            image,
            shape,
            pixels,
            thumbnail: thumbnail.into(),
            preprocessing,
        };
        Ok(
            Output::new(Topic::Tensors, Some(key.into()), message.encode())
                .notified_at(notified_ms),
        )
    }
}

/// Bytes set aside, given back however the work ends.
struct Room<'a> {
    permit: SemaphorePermit<'a>,
    metrics: &'a PictureMetrics,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.metrics
            .held
            .dec_by(self.permit.num_permits() as i64 * UNIT as i64);
    }
}

fn unavailable(error: &StorageError) -> Outcome {
    let reason = match error {
        // The image that was announced is no more; the object in its place has a notification of its own.
        StorageError::NotFound { .. } | StorageError::Changed { .. } => Reason::NotFound,
        StorageError::Denied { .. } => Reason::AccessDenied,
        StorageError::TooLarge { .. } => Reason::TooLarge,
        StorageError::Invalid { .. } => Reason::InvalidKey,
        // The SDK has retried already; wrong credentials may be mended by an operator while the budget lasts.
        StorageError::Transient { .. } | StorageError::Setup { .. } => {
            return Outcome::retry(with_causes(error));
        }
    };
    Outcome::reject(reason, with_causes(error))
}

fn unreadable(error: &VisionError) -> Rejection {
    let reason = match error {
        VisionError::Empty => Reason::Empty,
        VisionError::Unrecognised { .. } | VisionError::Unsupported { .. } => {
            Reason::UnsupportedFormat
        }
        VisionError::Truncated { .. } | VisionError::Corrupt { .. } => Reason::Corrupt,
        VisionError::TooManyPixels { .. } => Reason::TooManyPixels,
    };
    Rejection {
        reason,
        error: with_causes(error),
    }
}
