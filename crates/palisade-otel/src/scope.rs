use opentelemetry::InstrumentationScope;

use crate::semconv::SCHEMA_URL;

/// Who tells: this crate, its version, and the version of the semantic
/// conventions that it keeps to. For a tracer or a meter of your own:
///
/// ```
/// let tracer = opentelemetry::global::tracer_with_scope(palisade_otel::scope());
/// # let _ = tracer;
/// assert_eq!(palisade_otel::scope().name(), "palisade-otel");
/// ```
pub fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}
