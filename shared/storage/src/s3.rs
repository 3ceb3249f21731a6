//! [`Objects`] on S3.

use crate::{
    Entry, Error, Get, Head, Location, Object, Objects, StorageSettings, Stored,
    classify::{Asked, classify},
    error::Cause,
    listed::{entries, millis, size},
    objects::bare,
};
use async_trait::async_trait;
use aws_config::{
    BehaviorVersion, environment::region::EnvironmentVariableRegionProvider,
    imds::region::ImdsRegionProvider, meta::region::RegionProviderChain,
    profile::region::ProfileFileRegionProvider, provider_config::ProviderConfig,
};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, Credentials as Keys, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
    operation::get_object::GetObjectOutput,
    primitives::ByteStream,
    types::{BucketLocationConstraint, CreateBucketConfiguration, EncodingType},
};
use aws_smithy_http_client::{
    Builder as HttpBuilder, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use secrecy::ExposeSecret as _;
use std::time::Duration;

const DEFAULT_REGION: &str = "us-east-1";
/// The pause before an interrupted download is started again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// S3: AWS, or any server with its API. Clones share connections.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    attempts: u32,
    body_timeout: Duration,
    region: String,
}

impl Store {
    /// Finds credentials and region by the AWS default chain. Sends no request to S3 yet.
    ///
    /// # Errors
    /// [`Error::Setup`] for settings that [`StorageSettings::problems`] names.
    pub async fn connect(settings: &StorageSettings) -> Result<Self, Error> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(Error::Setup {
                source: problems.join("; ").into(),
            });
        }
        let http_client = http_client();
        let region = region(settings, &http_client).await;
        let shared = match &settings.credentials {
            Some(_) => None,
            None => Some(
                aws_config::defaults(BehaviorVersion::latest())
                    .region(region.clone())
                    .http_client(http_client.clone())
                    .load()
                    .await,
            ),
        };
        let mut config = match &shared {
            Some(shared) => Builder::from(shared),
            None => Builder::new().behavior_version(BehaviorVersion::latest()),
        };
        if let Some(keys) = &settings.credentials {
            let keys = Keys::new(
                &keys.access_key,
                keys.secret_key.expose_secret(),
                None,
                None,
                "settings",
            );
            config = config.credentials_provider(keys);
        }
        if let Some(endpoint) = &settings.s3_endpoint {
            config = config.endpoint_url(endpoint);
        }
        let elsewhere = settings.s3_endpoint.is_some()
            || shared.as_ref().is_some_and(|s| s.endpoint_url().is_some());
        let config = config
            .region(region.clone())
            .http_client(http_client)
            .force_path_style(settings.s3_path_style.unwrap_or(elsewhere))
            .timeout_config(timeouts(settings))
            .retry_config(RetryConfig::standard().with_max_attempts(settings.s3_attempts))
            // The SDK would add newer checksums by default, which some other servers do not support.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            attempts: settings.s3_attempts,
            body_timeout: settings.attempt_timeout(),
            region: region.to_string(),
        })
    }

    /// Sends the request, with the SDK's own retries, and returns when the response's headers are there.
    async fn request(&self, get: &Get<'_>) -> Result<GetObjectOutput, Error> {
        let asked = Asked {
            etag: get.etag,
            version: get.version,
        };
        self.client
            .get_object()
            .bucket(get.bucket)
            .key(get.key)
            .set_version_id(get.version.map(str::to_owned))
            .set_if_match(get.etag.map(|etag| format!("\"{}\"", bare(etag))))
            .send()
            .await
            .map_err(|error| classify(get.location(), asked, error))
    }

    /// Reads the body of a response, in one attempt.
    async fn receive(&self, get: &Get<'_>, answer: GetObjectOutput) -> Result<Object, Error> {
        let etag = bare(answer.e_tag().unwrap_or_default()).to_owned();
        if let Some(expected) = get.etag.map(bare)
            && expected != etag
        {
            // Some servers ignore If-Match.
            return Err(Error::Changed {
                at: get.location(),
                expected: expected.to_owned(),
            });
        }
        let content_type = answer.content_type().map(str::to_owned);
        let version = answer.version_id().map(str::to_owned);
        let bytes = tokio::time::timeout(self.body_timeout, read(get, answer))
            .await
            .unwrap_or_else(|late| Err(transient(get, late)))?;
        Ok(Object {
            bytes,
            etag,
            content_type,
            version,
        })
    }
}

/// The SDK's default client, with the proxy of the environment. Its TLS uses ring, because the downloads of weights use
/// ring already and the default, aws-lc, would add a second cryptographic library in C to the build.
fn http_client() -> SharedHttpClient {
    HttpBuilder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::rustls(CryptoMode::Ring))
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}

/// The region of the settings or of the AWS default chain. The instance metadata service is asked only if no endpoint
/// is
/// set: only AWS has it, and elsewhere the request takes long to fail.
async fn region(settings: &StorageSettings, http_client: &SharedHttpClient) -> Region {
    let fixed = settings.s3_region.clone().map(Region::new);
    let mut chain = RegionProviderChain::first_try(fixed)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    if settings.s3_endpoint.is_none() {
        let with_client = ProviderConfig::default().with_http_client(http_client.clone());
        let instance = ImdsRegionProvider::builder()
            .configure(&with_client)
            .build();
        chain = chain.or_else(instance);
    }
    chain
        .region()
        .await
        .unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
}

fn timeouts(settings: &StorageSettings) -> TimeoutConfig {
    let attempt = settings.attempt_timeout();
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout())
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .build()
}

fn transient(get: &Get<'_>, source: impl Into<Cause>) -> Error {
    Error::Transient {
        at: get.location(),
        source: source.into(),
    }
}

/// Reads the complete body. Checks the declared length before, and the number of bytes while they arrive.
async fn read(get: &Get<'_>, answer: GetObjectOutput) -> Result<Bytes, Error> {
    let declared = answer.content_length().and_then(|n| u64::try_from(n).ok());
    let within = |size: u64| {
        if size <= get.max_bytes {
            Ok(())
        } else {
            Err(Error::TooLarge {
                at: get.location(),
                size,
                limit: get.max_bytes,
            })
        }
    };
    within(declared.unwrap_or(0))?;
    let capacity = usize::try_from(declared.unwrap_or(0)).unwrap_or(0);
    let mut body = answer.body;
    let mut bytes = BytesMut::with_capacity(capacity);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| transient(get, error))?;
        within((bytes.len() + chunk.len()) as u64)?;
        bytes.extend_from_slice(&chunk);
    }
    match declared {
        Some(declared) if declared != bytes.len() as u64 => Err(transient(
            get,
            format!("{} bytes of {declared} arrived", bytes.len()),
        )),
        _ => Ok(bytes.freeze()),
    }
}

#[async_trait]
impl Objects for Store {
    async fn fetch(&self, get: Get<'_>) -> Result<Object, Error> {
        get.location().check()?;
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let answer = self.request(&get).await?;
            match self.receive(&get, answer).await {
                Err(Error::Transient { source, .. }) if attempt < self.attempts => {
                    tracing::debug!(at = %get.location(), attempt, %source, "download started again");
                }
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error> {
        let at = Location::new(bucket, key);
        at.check()?;
        let asked = Asked {
            version,
            etag: None,
        };
        let answer = self
            .client
            .head_object()
            .bucket(bucket)
            .key(key)
            .set_version_id(version.map(str::to_owned))
            .send()
            .await
            .map_err(|error| match error.raw_response() {
                // A response to HEAD has no body that says what is wrong. With a version id it is the version.
                Some(raw) if version.is_some() && raw.status().as_u16() == 400 => {
                    Error::NotFound { at: at.clone() }
                }
                _ => classify(at.clone(), asked, error),
            })?;
        Ok(Head {
            size: size(answer.content_length()),
            etag: bare(answer.e_tag().unwrap_or_default()).to_owned(),
            content_type: answer.content_type().map(str::to_owned),
            version: answer.version_id().map(str::to_owned),
            last_modified_ms: millis(answer.last_modified()),
        })
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<Stored, Error> {
        let at = Location::new(bucket, key);
        at.check()?;
        let answer = self
            .client
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| classify(at, Asked::default(), error))?;
        Ok(Stored {
            etag: bare(answer.e_tag().unwrap_or_default()).to_owned(),
            version: answer.version_id().map(str::to_owned),
        })
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let at = Location::new(bucket, key);
        at.check()?;
        self.client
            .delete_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| classify(at, Asked::default(), error))?;
        Ok(())
    }

    fn list(&self, bucket: &str, prefix: &str) -> BoxStream<'static, Result<Entry, Error>> {
        let at = Location::new(bucket, prefix);
        if let Err(error) = at.check_bucket() {
            return stream::once(async { Err(error) }).boxed();
        }
        // XML can't contain every key; keys that are encoded it can.
        let pages = self
            .client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .into_paginator()
            .send();
        stream::try_unfold(pages, move |mut pages| {
            let at = at.clone();
            async move {
                match pages.next().await {
                    None => Ok(None),
                    Some(Err(error)) => Err(classify(at, Asked::default(), error)),
                    Some(Ok(page)) => Ok(Some((stream::iter(entries(&at, page)), pages))),
                }
            }
        })
        .try_flatten()
        .boxed()
    }

    async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        let at = Location::new(bucket, "");
        at.check_bucket()?;
        let place = (self.region != DEFAULT_REGION).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region.as_str()))
                .build()
        });
        let made = self
            .client
            .create_bucket()
            .bucket(bucket)
            .set_create_bucket_configuration(place)
            .send()
            .await;
        match made {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_bucket_already_owned_by_you() => Ok(()),
                // Some servers answer so for one's own bucket, too, so check whether we may use it.
                Some(service) if service.is_bucket_already_exists() => self.enter(at).await,
                _ => Err(classify(at, Asked::default(), error)),
            },
        }
    }
}

impl Store {
    /// Checks that the credentials permit using the bucket.
    async fn enter(&self, at: Location) -> Result<(), Error> {
        let answer = self.client.head_bucket().bucket(&at.bucket).send().await;
        answer
            .map(drop)
            .map_err(|error| classify(at, Asked::default(), error))
    }
}
