//! [Tower](tower_service) layers that count and time HTTP calls and attempts,
//! and cost so little that nobody turns them off.
//!
//! ```
//! use http::{Method, Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use palisade_core::Endpoint;
//! use palisade_metrics::Registry;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client.
//! let api = service_fn(|request: Request<Full<&'static [u8]>>| async move {
//!     let mut response = Response::new(Full::new(&b"hello"[..]));
//!     if request.uri().path().ends_with("/0") {
//!         *response.status_mut() = StatusCode::NOT_FOUND;
//!     }
//!     Ok::<_, BoxError>(response)
//! });
//!
//! let metrics = Registry::new();
//! let client = ServiceBuilder::new().layer(metrics.attempts()).service(api);
//! for id in 0..4 {
//!     let mut request = Request::get(format!("https://api.example/users/{id}")).body(Full::default())?;
//!     GET_USER.put_into(request.extensions_mut());
//!     client.clone().oneshot(request).await?.into_body().collect().await?;
//! }
//!
//! let attempts = metrics.snapshot().attempts;
//! let get_user = attempts.endpoint("GET", "/users/{id}");
//! assert_eq!((get_user.count(), get_user.status(404)), (4, 1));
//! assert_eq!(get_user.received(), 20);
//! assert!(get_user.times().p95() < Some(std::time::Duration::from_secs(1)));
//! # Ok(())
//! # }
//! ```
//!
//! # What is counted
//!
//! A [`Registry`] has three layers. [`calls`](Registry::calls) goes outside of
//! retry and counts what callers see; [`attempts`](Registry::attempts) goes
//! inside, next to the client, and counts what goes over the wire;
//! [`served`](Registry::served) goes around a server. Each does alone as well.
//!
//! | a request ends | with the result |
//! |---|---|
//! | at the end of its response's body; at its head, if that is known to be empty | its status |
//! | when the body breaks off | its status and the error `body` |
//! | at the head of an event stream, a tunnel or an upgraded connection; as long as its body goes on, that is a gauge of its own | its status |
//! | when the body is dropped before its end | its status, and one more unread response |
//! | with an error | the [kind](palisade_core::ErrorKind) of the error |
//! | when it is dropped before the head | the error `cancelled` |
//! | when the service panics | the error `panic` |
//!
//! Whatever becomes of it, it ends once. Its time is that to the end; of
//! attempts and on servers, that to the head is counted beside it. What it means for the
//! success rate is the verdict of [`Classify`](palisade_core::Classify).
//!
//! As the [observer](Registry::observer) of other layers, a registry also counts
//! retries and calls given up, refusals, the states of breakers, waits and
//! pauses of limiters, what caches do, and how often tokens are fetched anew.
//!
//! # Labels
//!
//! Requests are told apart by endpoint, method and authority. The endpoint is a
//! template, found in the request's [extensions](palisade_core::Endpoint), by
//! [`Routes`] or by [`endpoint_fn`]; a path is never a label. Each label has
//! room for a bounded number of values, the registry for a bounded number of
//! combinations; what comes later counts as `_OTHER`, and is counted as
//! [folded](Folded). So no traffic, however hostile, makes it grow for ever.
//!
//! # Reading
//!
//! A [`Snapshot`] has everything, with exact counts and quantiles at most 1.1 %
//! off; a [`Window`] has what came since it was last asked, for any number of
//! readers. [`render`](Snapshot::render) and [`scrape`](Registry::scrape) make
//! text for Prometheus, with the names of OpenTelemetry's semantic conventions
//! where these have one.
//!
//! # Cost
//!
//! A request that succeeds allocates nothing and takes no lock. Each thread
//! counts in words of its own, so that two threads do not wait for each other;
//! the sums are made by who reads. Half of the time goes into reading the clock:
//! at the request, at the head, and at the end of the body. A series takes
//! memory as its times need it: some 300 bytes for each power of two, and
//! thread; a registry that has counted nothing takes 220 KB.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `hyper` | yes | tells the errors of hyper, hyper-util and h2 apart |
//! | `tower` | yes | tells the errors of tower's timeout, load shed and buffer apart |
//! | `metrics` | no | `Registry::facade` publishes all counts to the facade of the crate `metrics` |
//! | `quanta` | no | `Registry::processor_clock` reads the processor's counter in place of the clock |
//! | `rustls` | no | tells the errors of rustls apart |
//! | `serde` | no | snapshots can be serialized |
//! | `tracing` | no | `TraceEvents` logs what other layers tell their observer |

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod body;
mod both;
mod call;
mod clock;
mod endpoints;
mod events;
#[cfg(feature = "metrics")]
mod facade;
mod families;
mod future;
mod group;
mod histogram;
mod labels;
mod layer;
mod registry;
mod requests;
mod scrape;
mod service;
mod snapshot;
mod store;
mod stripes;
mod sync;
mod table;
mod text;
#[cfg(feature = "tracing")]
mod trace;
mod window;

#[cfg(feature = "metrics")]
pub use self::facade::Facade;
#[cfg(feature = "tracing")]
pub use self::trace::TraceEvents;
pub use self::{
    body::ResponseBody,
    both::Both,
    endpoints::{EndpointFn, FindEndpoint, InExtensions, Routes, endpoint_fn},
    future::ResponseFuture,
    histogram::{Histogram, Times},
    layer::MetricsLayer,
    registry::Registry,
    requests::{Outcomes, RequestGroup, RequestResult, Requests},
    scrape::Scrape,
    service::Metered,
    snapshot::{BreakerState, EventCount, Folded, Snapshot},
    text::Format,
    window::Window,
};
