use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use opentelemetry_semantic_conventions::{SCHEMA_URL, attribute, trace};
use palisade_core::Attempt;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Telemetry, request, response};

/// The attributes of spans that have all there is to have.
fn said() -> Vec<String> {
    let telemetry = Telemetry::new();
    let client =
        telemetry.layer().layer(service_fn(async |_| Ok::<_, std::io::Error>(response(404))));
    static ENDPOINT: palisade_core::Endpoint =
        palisade_core::Endpoint::new(http::Method::GET, "/{id}");
    let send = async |mut request: crate::support::Call| {
        ENDPOINT.put_into(request.extensions_mut());
        Attempt::count_resend(request.extensions_mut());
        drop(client.clone().oneshot(request).await.unwrap());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        send(request("BREW", "https://a.example/1")).await;
    });
    let span = telemetry.span();
    assert_eq!(span.span_kind, SpanKind::Client);
    span.attributes.iter().map(|attribute| attribute.key.as_str().to_owned()).collect()
}

#[test]
fn attributes_are_those_of_the_semantic_conventions() {
    let expected = [
        trace::HTTP_REQUEST_METHOD,
        trace::SERVER_ADDRESS,
        trace::SERVER_PORT,
        trace::URL_FULL,
        trace::URL_SCHEME,
        trace::URL_TEMPLATE,
        trace::HTTP_REQUEST_METHOD_ORIGINAL,
        trace::HTTP_REQUEST_RESEND_COUNT,
        trace::HTTP_RESPONSE_STATUS_CODE,
        trace::NETWORK_PROTOCOL_VERSION,
        attribute::ERROR_TYPE,
    ];
    assert_eq!(said(), expected);
}

#[test]
fn the_scope_names_the_version_of_the_conventions() {
    let scope = palisade_otel::scope();
    assert_eq!(scope.name(), "palisade-otel");
    assert_eq!(scope.version(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(scope.schema_url(), Some(SCHEMA_URL));
}

#[tokio::test]
async fn the_global_tracer_is_found() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    let client = palisade_otel::TraceLayer::new()
        .layer(service_fn(async |_| Ok::<_, std::io::Error>(response(200))));
    drop(client.oneshot(request("GET", "https://a.example/")).await.unwrap());
    let [span] = exporter.get_finished_spans().unwrap().try_into().unwrap();
    assert_eq!(span.name, "GET");
    assert_eq!(span.instrumentation_scope, palisade_otel::scope());
    let _ = provider.tracer("kept until here");
}
