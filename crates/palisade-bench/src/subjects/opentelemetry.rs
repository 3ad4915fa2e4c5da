use std::sync::LazyLock;

use opentelemetry::{
    KeyValue, global,
    metrics::{Histogram, MeterProvider},
};
use opentelemetry_instrumentation_tower::http::server;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use tower_http_opentelemetry::http::client::HttpClientTelemetryLayer;

/// The provider of the process: layers ask for no other.
fn provider() -> &'static SdkMeterProvider {
    static PROVIDER: LazyLock<SdkMeterProvider> = LazyLock::new(|| {
        let reader = ManualReader::builder().build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        global::set_meter_provider(provider.clone());
        provider
    });
    &PROVIDER
}

/// `opentelemetry-instrumentation-tower`, which is for servers, with its metrics alone.
pub(crate) fn instrumentation_tower() -> server::Layer {
    provider();
    server::LayerBuilder::builder().with_tracing(false).build().expect("a valid layer")
}

/// `tower-http-opentelemetry` for clients. Nobody listens to its spans.
pub(crate) fn tower_http_opentelemetry() -> HttpClientTelemetryLayer {
    provider();
    HttpClientTelemetryLayer::new()
}

/// A histogram, with the attributes of an HTTP request.
pub(crate) fn histogram() -> (Histogram<f64>, [KeyValue; 5]) {
    let meter = provider().meter("bench");
    let attributes = [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("server.address", "api.example"),
        KeyValue::new("server.port", 80),
        KeyValue::new("url.template", "/v1/items"),
        KeyValue::new("http.response.status_code", 200),
    ];
    (meter.f64_histogram("duration").build(), attributes)
}
