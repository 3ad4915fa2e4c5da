use std::{fmt, sync::Arc};

use http::Method;
use opentelemetry::global::{self, BoxedTracer};
use palisade_core::{HttpClassify, Origins};
use tower_layer::Layer;

use crate::{TraceContext, Traced, methods::Methods, redact::Redact, scope};

/// Makes a client span of each request that passes: put it inside of retry,
/// next to the client, so that each attempt has its own.
///
/// Clones and services share one tracer.
///
/// See the [crate documentation](crate) for an example.
#[must_use]
pub struct TraceLayer<T = BoxedTracer, P = TraceContext, C = HttpClassify> {
    rules: Arc<Rules<T, P, C>>,
}

/// What the services of a layer share.
#[derive(Debug)]
pub(crate) struct Rules<T, P, C> {
    pub(crate) tracer: Arc<T>,
    pub(crate) propagator: Arc<P>,
    pub(crate) classify: C,
    pub(crate) common: Common,
}

/// What of it has no type of its own.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) methods: Methods,
    pub(crate) redact: Redact,
    pub(crate) propagate: Origins,
}

impl<M> TraceLayer<BoxedTracer, TraceContext, HttpClassify<M>> {
    /// Spans by the global tracer provider, as it is set now: set it before.
    pub fn new() -> Self {
        let common = Common {
            methods: Methods::known(),
            redact: Redact::signatures(),
            propagate: Origins::new([""; 0]),
        };
        Self::of(Rules {
            tracer: Arc::new(global::tracer_with_scope(scope())),
            propagator: Arc::new(TraceContext),
            classify: HttpClassify::new(),
            common,
        })
    }
}

impl<M> Default for TraceLayer<BoxedTracer, TraceContext, HttpClassify<M>> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, P, C> TraceLayer<T, P, C> {
    fn of(rules: Rules<T, P, C>) -> Self {
        Self { rules: Arc::new(rules) }
    }
}

impl<T, P, C: Clone> TraceLayer<T, P, C> {
    /// Sets the tracer. Defaults to one of the global provider, with the
    /// [scope](crate::scope) of this crate.
    pub fn tracer<U>(self, tracer: U) -> TraceLayer<U, P, C> {
        let Rules { propagator, classify, common, .. } = self.rules();
        TraceLayer::of(Rules { tracer: Arc::new(tracer), propagator, classify, common })
    }

    /// Sets which origins the trace context is sent to. Defaults to none: a
    /// trace id tells a stranger which requests belong together, and
    /// `tracestate` what else is in use; name the origins that take part in the
    /// traces.
    ///
    /// Each request is looked at by its own target. So a redirect to a stranger
    /// tells it nothing, if it is followed outside of this layer; a client that
    /// follows it inside takes the fields along.
    ///
    /// ```
    /// use palisade_core::{HttpClassify, Origins};
    /// use palisade_otel::TraceLayer;
    ///
    /// let ours = Origins::new(["https://api.example", "https://auth.example"]);
    /// let layer = TraceLayer::<_, _, HttpClassify>::new().propagate(ours);
    /// # let _ = layer;
    /// ```
    pub fn propagate(self, origins: Origins) -> Self {
        self.set(|common| common.propagate = origins)
    }

    /// Sets how the trace context is written. Defaults to [`TraceContext`]; every
    /// [`TextMapPropagator`](opentelemetry::propagation::TextMapPropagator)
    /// does, as does [`GlobalPropagator`](crate::GlobalPropagator).
    pub fn propagator<Q>(self, propagator: Q) -> TraceLayer<T, Q, C> {
        let Rules { tracer, classify, common, .. } = self.rules();
        TraceLayer::of(Rules { tracer, propagator: Arc::new(propagator), classify, common })
    }

    /// Sets what an error is called, by [`Classify::kind`]. Defaults to
    /// [`HttpClassify`].
    ///
    /// [`Classify::kind`]: palisade_core::Classify::kind
    pub fn classify<D>(self, classify: D) -> TraceLayer<T, P, D> {
        let Rules { tracer, propagator, common, .. } = self.rules();
        TraceLayer::of(Rules { tracer, propagator, classify, common })
    }

    /// Sets which methods have a name; others are `_OTHER`. Defaults to those
    /// of RFC 9110, PATCH and QUERY.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.set(|common| common.methods = Methods::of(methods))
    }

    /// Sets which query parameters have secret values, which `url.full` does not
    /// show. Defaults to `X-Amz-Signature`, `X-Amz-Credential`,
    /// `X-Amz-Security-Token`, `AWSAccessKeyId`, `Signature`, `sig` and
    /// `X-Goog-Signature`. User names and passwords are never shown.
    pub fn redact<K: Into<String>>(self, parameters: impl IntoIterator<Item = K>) -> Self {
        self.set(|common| common.redact = Redact::of(parameters))
    }

    fn set(self, change: impl FnOnce(&mut Common)) -> Self {
        let mut rules = self.rules();
        change(&mut rules.common);
        Self::of(rules)
    }

    fn rules(&self) -> Rules<T, P, C> {
        let Rules { tracer, propagator, classify, common } = &*self.rules;
        Rules {
            tracer: Arc::clone(tracer),
            propagator: Arc::clone(propagator),
            classify: classify.clone(),
            common: common.clone(),
        }
    }
}

impl<T, P, C> Clone for TraceLayer<T, P, C> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<T, P, C> fmt::Debug for TraceLayer<T, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceLayer")
            .field("propagate", &self.rules.common.propagate)
            .finish_non_exhaustive()
    }
}

impl<S, T, P, C> Layer<S> for TraceLayer<T, P, C> {
    type Service = Traced<S, T, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced::new(inner, Arc::clone(&self.rules))
    }
}
