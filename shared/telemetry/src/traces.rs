//! Export of spans to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! The program never waits for the collector. A thread of its own sends spans in batches, and drops them if they come
//! faster than the collector takes them.

use async_trait::async_trait;
use clap::Args;
use http::{Request, Response};
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use std::{io::Read as _, process, time::Duration};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// How long a process that ends waits for the collector to take the last spans.
const FAREWELL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that are read of the collector's response; only the text of an error is used.
const LONGEST_ANSWER: u64 = 64 << 10;

/// Settings of the export of spans.
#[derive(Debug, Clone, Args)]
pub struct TraceSettings {
    /// OTLP collector that spans are sent to, as http://HOST:4318; none are sent without one.
    /// OTEL_EXPORTER_OTLP_HEADERS goes with it.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = base_url
    )]
    pub otlp_endpoint: Option<String>,
    /// Share of the traces that begin here which are sent, from 0 to 1; one that came with a notification is sent as
    /// its sender decided.
    #[arg(
        long,
        env = "SIGHTLINE_TRACE_RATIO",
        value_name = "SHARE",
        default_value = "1",
        value_parser = ratio
    )]
    pub trace_ratio: f64,
}

/// A running export of spans. Dropping it waits up to two seconds until the last spans are sent.
#[must_use]
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    pub(crate) fn none() -> Self {
        Self(None)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(FAREWELL)
        {
            tracing::warn!(%error, "the last spans were not delivered");
        }
    }
}

/// A layer that exports the spans of this workspace's crates, if there is a collector.
pub(crate) fn start<S>(
    settings: &TraceSettings,
    service: &str,
) -> (Traces, Option<impl Layer<S> + use<S>>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Some(provider) = settings
        .otlp_endpoint
        .as_deref()
        .and_then(|endpoint| provider(endpoint, settings.trace_ratio, service))
    else {
        return (Traces::none(), None);
    };
    let ours = filter_fn(|meta| {
        let exported = meta.is_span() || *meta.level() <= Level::WARN;
        exported && meta.target().starts_with("sightline")
    });
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("sightline"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours);
    (Traces(Some(provider)), Some(layer))
}

fn provider(endpoint: &str, ratio: f64, service: &str) -> Option<SdkTracerProvider> {
    let client = Client(ureq::AgentBuilder::new().timeout(TIMEOUT).build());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build();
    let exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => {
            // The URL has been checked, so headers from the environment are wrong.
            eprintln!("error: spans can't be sent: {error}");
            return None;
        }
    };
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(process::id())))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            ratio,
        ))))
        .with_resource(resource)
        .build();
    Some(provider)
}

/// A blocking client. Only the exporter's own thread uses it, so nothing else waits.
#[derive(Debug)]
struct Client(ureq::Agent);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut call = self
            .0
            .request(parts.method.as_str(), &parts.uri.to_string());
        for (name, value) in &parts.headers {
            call = call.set(name.as_str(), value.to_str()?);
        }
        let answer = match call.send_bytes(&body) {
            Ok(answer) | Err(ureq::Error::Status(_, answer)) => answer,
            Err(error) => return Err(error.into()),
        };
        let status = answer.status();
        let mut text = Vec::new();
        answer
            .into_reader()
            .take(LONGEST_ANSWER)
            .read_to_end(&mut text)?;
        Ok(Response::builder().status(status).body(text.into())?)
    }
}

fn base_url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("a URL is wanted, http://HOST:4318 for example".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("a number from 0 to 1 is wanted".to_owned()),
    }
}
