//! The stage: turns an image reference into a tensor and a thumbnail.

use crate::{
    decoding::{self, Decode, Undone},
    metrics::PictureMetrics,
    model::preprocessing,
    pool::{Panicked, Pool},
    recipe::{Made, Recipe},
    settings::{ImageSettings, TensorType},
};
use anyhow::Context as _;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use sightline_contracts::{ImageRef, Reason, TensorMessage, Topic, now_ms};
use sightline_manifest::{Pixels, Preprocessing};
use sightline_storage::{
    self as storage, Error as StorageError, Get, Metered, Objects, StorageSettings, Store,
};
use sightline_stream::{Outcome, Output, Record, Stage, with_causes};
use sightline_telemetry::Telemetry;
use std::{sync::Arc, time::Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The stage, with its S3 client, its threads and its limits.
pub struct Preprocess {
    store: Arc<dyn Objects>,
    pool: Pool<Box<dyn Decode>>,
    preprocessing: Preprocessing,
    tensor_type: TensorType,
    settings: ImageSettings,
    /// The rest of `--max-held-bytes`, in units of [`UNIT`] bytes.
    unheld: Semaphore,
    metrics: PictureMetrics,
}

/// Bytes for each permit of the semaphore. One call can take at most 2³² permits.
const UNIT: u64 = 1024;

impl Preprocess {
    /// Connects to S3, reads the model's manifest and makes the stage. `memory` as for [`new`](Self::new).
    ///
    /// # Errors
    /// If no S3 client can be made or the manifest can't be read, and those of [`new`](Self::new).
    pub async fn start(
        images: &ImageSettings,
        settings: &StorageSettings,
        memory: u64,
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let store = Store::connect(settings).await.context("can't set up S3")?;
        let store = Metered::new(store, telemetry.declared(storage::Metrics::register));
        let preprocessing = preprocessing(images.model(), &store).await?;
        let mut registry = telemetry.registry();
        Self::new(
            Arc::new(store),
            preprocessing,
            images,
            memory,
            &mut registry,
        )
    }

    /// The stage on an object store. `memory` is what all images together may take while they are decoded, in bytes.
    ///
    /// # Errors
    /// If no thread or process can be started.
    pub fn new(
        store: Arc<dyn Objects>,
        preprocessing: Preprocessing,
        settings: &ImageSettings,
        memory: u64,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        let metrics = PictureMetrics::register(registry);
        let recipe = Recipe {
            limits: settings.limits(),
            preprocessing: preprocessing.clone(),
            tensor_type: settings.tensor_type,
            thumbnail: settings.thumbnail(),
        };
        let decoders = decoding::start(settings, recipe, memory, &metrics)?;
        let (threads, queue) = (settings.threads(), settings.decode_queue);
        let equip = move || Arc::clone(&decoders).decoder();
        Ok(Self {
            store,
            pool: Pool::start(threads, queue, metrics.queued.clone(), equip)?,
            preprocessing,
            tensor_type: settings.tensor_type,
            settings: settings.clone(),
            unheld: Semaphore::new(usize::try_from(settings.max_held_bytes.div_ceil(UNIT))?),
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
        // Held until the image is decoded.
        let held = self.hold(self.settings.held_for(expected));
        let held = record.waiting(held).await?;
        let bytes = self.fetch(&image, expected).await?;
        let made = self.decode(record, bytes).await;
        drop(held);
        match made {
            Ok(Ok(made)) => Ok(self.output(image, made)),
            Ok(Err(Undone::Rejected(rejection))) => Err(Outcome::Reject(rejection)),
            Ok(Err(Undone::Later(why))) => Err(Outcome::retry(why)),
            Err(Panicked) => Err(Outcome::reject(
                Reason::Internal,
                "preprocessing the image panicked",
            )),
        }
    }

    async fn decode(
        &self,
        record: &Record,
        bytes: Bytes,
    ) -> Result<Result<Made, Undone>, Panicked> {
        let (parent, clock) = (record.span.clone(), record.clock());
        let decode = move |decoder: &mut Box<dyn Decode>| {
            let span = tracing::debug_span!(parent: &parent, "pixels");
            span.in_scope(|| decoder.decode(&bytes, &clock))
        };
        record.waiting(self.pool.begin(decode)).await?.ended().await
    }

    /// The most bytes that the object can have: the notification's size if the notification identifies one version of the
    /// object, else the limit.
    fn expected_bytes(&self, image: &ImageRef) -> Result<u64, Outcome> {
        let limit = self.settings.max_object_bytes;
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

    async fn hold(&self, bytes: u64) -> Result<Held<'_>, Outcome> {
        let units = u32::try_from(bytes.div_ceil(UNIT))
            .map_err(|_| Outcome::retry("no room for so large an object"))?;
        let permit = self
            .unheld
            .acquire_many(units)
            .await
            .map_err(|_| Outcome::retry("stopping"))?;
        self.metrics.held.inc_by(i64::from(units) * UNIT as i64);
        Ok(Held {
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

    fn output(&self, mut image: ImageRef, made: Made) -> Output {
        self.metrics.took(&made.took);
        image.times.preprocessed_ms = Some(now_ms());
        let key = image.record_key();
        let notified_ms = image.times.notified_ms;
        let message = TensorMessage {
            image,
            shape: made.shape,
            pixels: match self.tensor_type {
                TensorType::U8 => Pixels::U8(made.pixels),
                TensorType::F32 => Pixels::F32(floats(&made.pixels)),
            },
            thumbnail: made.thumbnail,
            preprocessing: self.preprocessing.clone(),
        };
        Output::new(Topic::Tensors, Some(key.into()), message.encode()).notified_at(notified_ms)
    }
}

/// Little-endian f32 values.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect()
}

impl Stage for Preprocess {
    async fn process(&self, record: Record) -> Outcome {
        match self.preprocess(&record).await {
            Ok(output) => Outcome::Done(vec![output]),
            Err(outcome) => outcome,
        }
    }
}

/// Bytes of `--max-held-bytes`, until this is dropped.
struct Held<'a> {
    permit: SemaphorePermit<'a>,
    metrics: &'a PictureMetrics,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.metrics
            .held
            .dec_by(self.permit.num_permits() as i64 * UNIT as i64);
    }
}

fn unavailable(error: &StorageError) -> Outcome {
    let reason = match error {
        // The announced version does not exist any more. A newer one has a notification of its own.
        StorageError::NotFound { .. } | StorageError::Changed { .. } => Reason::NotFound,
        StorageError::Denied { .. } => Reason::AccessDenied,
        StorageError::TooLarge { .. } => Reason::TooLarge,
        StorageError::Invalid { .. } => Reason::InvalidKey,
        // The SDK has retried already. An operator may correct wrong credentials before the attempts are used up.
        StorageError::Transient { .. } | StorageError::Setup { .. } => {
            return Outcome::retry(with_causes(error));
        }
    };
    Outcome::reject(reason, with_causes(error))
}
