//! Spans and trace context around a client, over sockets.

use opentelemetry::{
    Value,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use palisade_core::Origins;
use palisade_otel::TraceLayer;
use palisade_testkit::{FlakyApi, Reply, Script};
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{get, http1, http2, read, retry};

fn value(span: &SpanData, name: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.clone())
}

#[tokio::test(start_paused = true)]
async fn what_arrives_belongs_to_the_span_of_its_attempt() {
    let down = Reply::status(503);
    let script = Script::new().route("/", [down, Reply::reset(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let trace = TraceLayer::new()
        .tracer(provider.tracer_with_scope(palisade_otel::scope()))
        .propagate(Origins::new([api.url("/").to_string()]));
    let client = ServiceBuilder::new().layer(retry()).layer(trace).service(http1());
    let response = client.oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");

    let spans = exporter.get_finished_spans().unwrap();
    let errors: Vec<_> = spans.iter().map(|span| value(span, "error.type")).collect();
    assert_eq!(errors, [Some("503".into()), Some("closed".into()), None]);
    let resends: Vec<_> =
        spans.iter().map(|span| value(span, "http.request.resend_count")).collect();
    assert_eq!(resends, [None, Some(1.into()), Some(2.into())]);
    let arrived = api.requests();
    assert_eq!(arrived.len(), 3);
    for (span, arrived) in spans.iter().zip(&arrived) {
        let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
        assert_eq!(arrived.headers()["traceparent"], format!("00-{trace}-{id}-01"));
        assert_eq!(value(span, "server.port"), Some(i64::from(api.addr().port()).into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_told_nothing_by_either_version() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello"))).await;
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = || {
        TraceLayer::new()
            .tracer(provider.tracer("test"))
            .propagate(Origins::new(["https://api.example"]))
    };
    let one = ServiceBuilder::new().layer(layer()).service(http1());
    let two = ServiceBuilder::new().layer(layer()).service(http2());
    let response = one.oneshot(get(api.url("/"))).await.unwrap();
    read(response).await.unwrap();
    let response = two.oneshot(get(api.url("/"))).await.unwrap();
    read(response).await.unwrap();

    assert!(api.requests().iter().all(|arrived| !arrived.headers().contains_key("traceparent")));
    let spans = exporter.get_finished_spans().unwrap();
    let versions: Vec<_> =
        spans.iter().map(|span| value(span, "network.protocol.version")).collect();
    assert_eq!(versions, [Some("1.1".into()), Some("2".into())]);
    assert!(!opentelemetry::Context::current().has_active_span());
}
