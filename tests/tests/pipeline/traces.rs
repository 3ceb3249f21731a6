//! The spans that an OpenTelemetry collector receives.

use crate::deployment::{Deployment, SERVICES, file, scenes};
use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value},
    trace::v1::{Span, status::StatusCode},
};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::Value;
use sightline_contracts::{Topic, headers};
use sightline_stream::Record;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{net::TcpListener, task::JoinSet};

/// A span with the service that sent it.
type Sent = (String, Span);

/// Receives OTLP over HTTP and stores the spans.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Sent>>>,
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&spans));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            endpoint,
            spans,
            _serving: serving,
        }
    }

    fn spans(&self) -> Vec<Sent> {
        self.spans.lock().clone()
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Sent>>>>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let service = text(&resource.resource.unwrap().attributes, "service.name");
        let sent = resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        let sent = sent.map(|span| (service.clone().unwrap(), span));
        spans.lock().extend(sent);
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace that a record belongs to, and the span that wrote it.
fn origin(record: &Record) -> (String, String) {
    let parent = record.headers.text(headers::TRACEPARENT).unwrap();
    (parent[3..35].to_owned(), parent[36..52].to_owned())
}

/// The spans of one trace, by the name of the service or of the step.
fn trace<'a>(spans: &'a [Sent], id: &str) -> BTreeMap<&'a str, &'a Sent> {
    let ours: Vec<_> = spans
        .iter()
        .filter(|(_, span)| hex(&span.trace_id) == id)
        .collect();
    let named: BTreeMap<_, _> = ours
        .iter()
        .map(|sent| (sent.1.name.as_str(), *sent))
        .collect();
    assert_eq!(named.len(), ours.len(), "a span came twice: {ours:#?}");
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_has_one_trace_through_the_four_services() {
    let collector = Collector::start().await;
    let deployment = Deployment::start("traces").await;
    let endpoint: &'static str = collector.endpoint.clone().leak();
    let services = deployment.services(|_| vec!["--otlp-endpoint", endpoint]);
    let scenes = &scenes()[..5];
    for (name, bytes) in scenes {
        deployment.put(name, bytes.clone()).await;
    }
    deployment
        .put("broken.jpg", file("fixtures/broken/text.jpg"))
        .await;
    deployment.await_results(scenes.len());
    deployment.await_dead_letters(1);
    // A service sends its remaining spans when it stops.
    services.into_iter().for_each(|service| service.stop());
    let spans = collector.spans();

    let mut inferred = BTreeSet::new();
    for record in deployment.committed(Topic::Results) {
        let (id, last) = origin(&record);
        let trace = trace(&spans, &id);
        let mut parent = String::new();
        for service in SERVICES {
            let (sender, span) = trace[service];
            assert_eq!(sender, &format!("sightline-{service}"));
            assert_eq!(hex(&span.parent_span_id), parent, "{service} in {trace:#?}");
            assert_eq!(text(&span.attributes, "outcome").as_deref(), Some("done"));
            parent = hex(&span.span_id);
        }
        assert_eq!(parent, last);
        for (step, within) in [
            ("s3 get", "preprocess"),
            ("pixels", "preprocess"),
            ("s3 put", "postprocess"),
        ] {
            assert_eq!(
                trace[step].1.parent_span_id, trace[within].1.span_id,
                "{step}"
            );
        }
        let named = |service: &str| text(&trace[service].1.attributes, "image_id");
        assert!(named("preprocess").is_some_and(|id| id.len() == 32));
        assert_eq!(named("preprocess"), named("postprocess"));
        inferred.insert(trace["infer"].1.span_id.clone());
    }
    let batches = spans.iter().filter(|(_, span)| span.name == "batch");
    let linked = batches.flat_map(|(_, span)| span.links.iter().map(|link| link.span_id.clone()));
    assert_eq!(linked.collect::<BTreeSet<_>>(), inferred);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letters_trace_ends_in_its_stage_with_the_reason() {
    let collector = Collector::start().await;
    let deployment = Deployment::start("dead-trace").await;
    let flags = [
        "--otlp-endpoint",
        &collector.endpoint,
        "--log",
        "warn",
        "--log-format",
        "json",
    ];
    let log = tempfile::NamedTempFile::new().unwrap();
    let services = [
        deployment.service("ingest", "0", &flags),
        deployment.service_logging("preprocess", "0", &flags, log.reopen().unwrap()),
    ];
    deployment
        .put("broken.jpg", file("fixtures/broken/text.jpg"))
        .await;
    deployment.await_dead_letters(1);
    services.into_iter().for_each(|service| service.stop());
    let spans = collector.spans();

    let (id, last) = origin(&deployment.committed(Topic::DeadLetters)[0]);
    let trace = trace(&spans, &id);
    let dead = &trace["preprocess"].1;
    assert_eq!(hex(&dead.span_id), last);
    assert_eq!(dead.parent_span_id, trace["ingest"].1.span_id);
    let status = dead.status.as_ref().unwrap();
    assert_eq!(
        (status.code(), &*status.message),
        (StatusCode::Error, "unsupported-format")
    );

    let lines = std::fs::read_to_string(log.path()).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let span = lines
        .filter(|line| line["message"] == "dead letter")
        .map(|line| line["span"].clone())
        .next()
        .unwrap();
    assert_eq!(span["trace_id"], *id);
    assert_eq!(
        span["image_id"].as_str(),
        text(&dead.attributes, "image_id").as_deref()
    );
}
