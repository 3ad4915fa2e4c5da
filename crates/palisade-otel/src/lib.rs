//! OpenTelemetry for HTTP clients on [tower](tower_service).

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
