//! OpenTelemetry for HTTP clients on [tower](tower_service): a span for each
//! attempt, trace context for those that it concerns, and instruments that cost
//! a request nothing.
//!
//! ```
//! use http::{Method, Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Empty};
//! use opentelemetry::trace::TracerProvider;
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//! use palisade_core::{Endpoint, Origins};
//! use palisade_otel::TraceLayer;
//! use palisade_retry::RetryLayer;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client: it answers with 503 until it is asked again.
//! let api = service_fn(|request: Request<Empty<&'static [u8]>>| async move {
//!     assert!(request.headers().contains_key("traceparent"));
//!     let mut response = Response::new(Empty::<&'static [u8]>::new());
//!     if palisade_core::Attempt::of(request.extensions()).resends() == 0 {
//!         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     Ok::<_, BoxError>(response)
//! });
//!
//! // In place of an exporter to a collector.
//! let exporter = InMemorySpanExporter::default();
//! let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
//!
//! let trace = TraceLayer::new()
//!     // The global one is found without this.
//!     .tracer(provider.tracer_with_scope(palisade_otel::scope()))
//!     .propagate(Origins::new(["https://api.example"]));
//! let client = ServiceBuilder::new().layer(RetryLayer::http()).layer(trace).service(api);
//!
//! let mut request = Request::get("https://api.example/users/7").body(Empty::new())?;
//! GET_USER.put_into(request.extensions_mut());
//! client.oneshot(request).await?.into_body().collect().await?;
//!
//! let spans = exporter.get_finished_spans()?;
//! assert_eq!(spans.len(), 2);
//! assert_eq!(spans[0].name, "GET /users/{id}");
//! # Ok(())
//! # }
//! ```
//!
//! # Spans
//!
//! [`TraceLayer`] goes inside of retry, next to the client, so that each attempt
//! has its span, as the [semantic conventions][http] want it. Each is a child of
//! the span that is current where the service is called, and is itself current
//! while the service, the future and the body are polled.
//!
//! | attribute | |
//! |---|---|
//! | `http.request.method` | `_OTHER`, if it is not [known](TraceLayer::methods); then `http.request.method_original` says it |
//! | `server.address`, `server.port` | of the target, or else of `Host`; the port of the scheme, if none is named |
//! | `url.full`, `url.scheme` | of an absolute target; without user name, password and [secret parameters](TraceLayer::redact) |
//! | `url.template` | of the [`Endpoint`](palisade_core::Endpoint) in the extensions |
//! | `http.request.resend_count` | of an [`Attempt`](palisade_core::Attempt) that is not the first |
//! | `http.response.status_code`, `network.protocol.version` | of the response |
//! | `error.type` | a status from 400 on, or what else went wrong |
//!
//! The name is the method with the template, or the method alone; never a path.
//!
//! | the span ends | its status | `error.type` |
//! |---|---|---|
//! | at the end of its response's body; where that is dropped; at the head of an event stream, a tunnel or an upgraded connection | unset below 400, else error | the status, if it is an error |
//! | when the body breaks off | error | `body` |
//! | with an error | error | its [kind](palisade_core::ErrorKind), never its text |
//! | when it is dropped before the head | error | `cancelled` |
//! | when the service or the body panics | error | `panic` |
//!
//! Whatever becomes of it, it ends once.
//!
//! # Trace context
//!
//! Nothing is sent but to the origins given to [`TraceLayer::propagate`]: a trace
//! id tells strangers which requests belong together. A `traceparent` that the
//! caller has set stays. Follow redirects outside of the layer: then each target
//! is looked at for itself.
//!
#![cfg_attr(feature = "metrics", doc = "# Metrics")]
#![cfg_attr(feature = "metrics", doc = "")]
#![cfg_attr(feature = "metrics", doc = "[`register_instruments`] exports what a registry of")]
#![cfg_attr(feature = "metrics", doc = "[palisade-metrics](palisade_metrics) counts.")]
#![cfg_attr(feature = "metrics", doc = "")]
//! # Cost
//!
//! A span that is recorded takes a microsecond and ten allocations, most of them
//! OpenTelemetry's own, before it is exported; one that is not sampled half of
//! that, as a sampler has to be told before what it may go by. The name of an
//! endpoint is one allocation more. To write the trace context takes half a
//! microsecond. Where telemetry is suppressed, nothing is allocated.
//!
//! A metric costs a request what palisade-metrics costs, as nothing is done
//! until a collection: that takes a snapshot, some allocations for each series,
//! and a call to a histogram for each duration that came since, which is some
//! 0.15 µs, twice for each attempt.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `hyper` | yes | tells the errors of hyper, hyper-util and h2 apart |
//! | `metrics` | yes | `register_instruments` exports what palisade-metrics counts |
//! | `tower` | yes | tells the errors of tower's timeout, load shed and buffer apart |
//! | `rustls` | no | tells the errors of rustls apart |
//!
//! [http]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod body;
mod future;
#[cfg(feature = "metrics")]
mod instruments;
mod layer;
mod methods;
mod propagate;
mod redact;
mod scope;
mod semconv;
mod server;
mod service;
mod span;

#[cfg(feature = "metrics")]
pub use self::instruments::register_instruments;
pub use self::{
    body::ResponseBody,
    future::ResponseFuture,
    layer::TraceLayer,
    propagate::{GlobalPropagator, Propagate, TraceContext},
    scope::scope,
    service::Traced,
};
