//! The layers of a client, from the wire up. Without its feature, a layer is not
//! there.

mod plain;
mod top;

use std::{pin::Pin, sync::Arc, time::Duration};

use palisade_core::{Boxed, HttpClassify};
use tokio::time::Sleep;
use tower_layer::Layer;

use self::{
    plain::AsPlain,
    top::{AsStack, Top},
};
#[cfg(any(feature = "auth", feature = "retry"))]
use crate::keep::KeepBody;
use crate::{
    BoxedService, HttpLayer, HttpService,
    erased::same,
    follow::Follow,
    switch::{Join, Same, Switch, SwitchBody, Wraps},
    timeout::TimeLimit,
    wire::Wire,
};

/// The verdict on results, for a stack whose errors are boxed.
type Http = HttpClassify<Boxed>;

#[cfg(feature = "decompression")]
type Unpacked = crate::unpack::Unpack;
/// What the body of a response is when it has passed no switch.
#[cfg(feature = "decompression")]
pub(crate) type UnpackedBody = crate::unpack::UnpackBody;
#[cfg(not(feature = "decompression"))]
type Unpacked = Wire;
/// What the body of a response is when it has passed no switch.
#[cfg(not(feature = "decompression"))]
pub(crate) type UnpackedBody = crate::wire::WireBody;

#[cfg(feature = "cookies")]
type Exchange = crate::cookies::Cookies<Unpacked>;
#[cfg(not(feature = "cookies"))]
type Exchange = Unpacked;

type Near = crate::near::Near<Exchange>;

#[cfg(feature = "metrics")]
pub(crate) type MetricsLayer = palisade_metrics::MetricsLayer<Http>;
#[cfg(feature = "metrics")]
type Counted = Switch<
    palisade_metrics::Metered<Near, Http>,
    Near,
    Wraps<palisade_metrics::ResponseBody<UnpackedBody>, UnpackedBody>,
>;
#[cfg(feature = "metrics")]
type CountedBody = SwitchBody<palisade_metrics::ResponseBody<UnpackedBody>, UnpackedBody>;
#[cfg(not(feature = "metrics"))]
type Counted = Near;
#[cfg(not(feature = "metrics"))]
type CountedBody = UnpackedBody;

type Timed = TimeLimit<Counted, Sleep>;

#[cfg(feature = "auth")]
pub(crate) type AuthLayer = palisade_auth::AuthLayer<palisade_auth::Credentials, KeepBody>;
#[cfg(feature = "auth")]
type Authorized = Switch<<AuthLayer as Layer<Timed>>::Service, Timed, Same<CountedBody>>;
#[cfg(not(feature = "auth"))]
type Authorized = Timed;

#[cfg(feature = "circuit-breaker")]
pub(crate) type CircuitBreakerLayer = palisade_circuit_breaker::CircuitBreakerLayer<
    Http,
    palisade_circuit_breaker::Keyed<palisade_core::ByAuthority>,
>;
#[cfg(feature = "circuit-breaker")]
type Guarded =
    Switch<<CircuitBreakerLayer as Layer<Authorized>>::Service, Authorized, Same<CountedBody>>;
#[cfg(not(feature = "circuit-breaker"))]
type Guarded = Authorized;

#[cfg(feature = "rate-limit")]
pub(crate) type ConcurrencyLimitLayer = palisade_rate_limit::ConcurrencyLimitLayer;
#[cfg(feature = "rate-limit")]
type InFlight = Switch<
    palisade_rate_limit::ConcurrencyLimit<Guarded>,
    Guarded,
    Wraps<palisade_rate_limit::PermitBody<CountedBody>, CountedBody>,
>;
#[cfg(feature = "rate-limit")]
type InFlightBody = SwitchBody<palisade_rate_limit::PermitBody<CountedBody>, CountedBody>;
#[cfg(feature = "rate-limit")]
pub(crate) type RateLimitLayer = palisade_rate_limit::RateLimitLayer;
#[cfg(feature = "rate-limit")]
type Limited = Switch<palisade_rate_limit::RateLimit<InFlight>, InFlight, Same<InFlightBody>>;
#[cfg(not(feature = "rate-limit"))]
type InFlightBody = CountedBody;
#[cfg(not(feature = "rate-limit"))]
type Limited = Guarded;

#[cfg(all(feature = "circuit-breaker", feature = "rate-limit"))]
pub(crate) type GateLayer = palisade_circuit_breaker::GateLayer<
    Http,
    palisade_circuit_breaker::Keyed<palisade_core::ByAuthority>,
>;
#[cfg(all(feature = "circuit-breaker", feature = "rate-limit"))]
type Gated = Switch<<GateLayer as Layer<Limited>>::Service, Limited, Same<InFlightBody>>;
#[cfg(not(all(feature = "circuit-breaker", feature = "rate-limit")))]
type Gated = Limited;

#[cfg(feature = "retry")]
type RetryRules = palisade_retry::Rules<
    Http,
    palisade_retry::ByMethod,
    palisade_retry::Backoff,
    palisade_retry::TokenBudget,
    KeepBody,
>;
#[cfg(feature = "retry")]
pub(crate) type RetryLayer = palisade_retry::RetryLayer<RetryRules>;
#[cfg(feature = "retry")]
type Retried = Switch<palisade_retry::Retry<Gated, RetryRules>, Gated, Same<InFlightBody>>;
#[cfg(not(feature = "retry"))]
type Retried = Gated;

#[cfg(feature = "cache")]
pub(crate) type CacheLayer = palisade_cache::HttpCacheLayer<palisade_cache::MemoryStore>;
// What a cache asks for has to end, whoever still waits for it.
#[cfg(feature = "cache")]
type Ended = TimeLimit<Retried, Pin<Box<Sleep>>>;
#[cfg(feature = "cache")]
type Cached = Switch<
    palisade_cache::HttpCache<Ended, palisade_cache::MemoryStore>,
    Ended,
    Wraps<palisade_cache::CachedBody<InFlightBody>, InFlightBody>,
>;
#[cfg(feature = "cache")]
type CachedBody = SwitchBody<palisade_cache::CachedBody<InFlightBody>, InFlightBody>;
#[cfg(not(feature = "cache"))]
type Cached = Retried;
#[cfg(not(feature = "cache"))]
type CachedBody = InFlightBody;

// Where a redirect leads is a request of its own.
type Followed = Follow<Cached>;

type Due = TimeLimit<Followed, Pin<Box<Sleep>>>;

#[cfg(feature = "metrics")]
type Whole = Switch<
    palisade_metrics::Metered<Due, Http>,
    Due,
    Wraps<palisade_metrics::ResponseBody<CachedBody>, CachedBody>,
>;
/// What the body of a response is when it has passed all switches.
#[cfg(feature = "metrics")]
pub(crate) type StackBody = SwitchBody<palisade_metrics::ResponseBody<CachedBody>, CachedBody>;
#[cfg(not(feature = "metrics"))]
type Whole = Due;
/// What the body of a response is when it has passed all switches.
#[cfg(not(feature = "metrics"))]
pub(crate) type StackBody = CachedBody;

/// Which layers there are, and which are not.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    pub(crate) around: Vec<Arc<dyn HttpLayer>>,
    #[cfg(feature = "metrics")]
    pub(crate) calls: Slot<MetricsLayer>,
    #[cfg(feature = "cache")]
    pub(crate) cache: Slot<CacheLayer>,
    pub(crate) total: Option<Duration>,
    /// Somebody further in wants to know when a call is due.
    pub(crate) tells_deadline: bool,
    #[cfg(feature = "retry")]
    pub(crate) retry: Slot<RetryLayer>,
    #[cfg(all(feature = "circuit-breaker", feature = "rate-limit"))]
    pub(crate) gate: Slot<GateLayer>,
    #[cfg(feature = "rate-limit")]
    pub(crate) rate_limit: Slot<RateLimitLayer>,
    #[cfg(feature = "rate-limit")]
    pub(crate) concurrency_limit: Slot<ConcurrencyLimitLayer>,
    #[cfg(feature = "circuit-breaker")]
    pub(crate) circuit_breaker: Slot<CircuitBreakerLayer>,
    #[cfg(feature = "auth")]
    pub(crate) auth: Slot<AuthLayer>,
    pub(crate) attempt: Option<Duration>,
    #[cfg(feature = "metrics")]
    pub(crate) attempts: Slot<MetricsLayer>,
    pub(crate) near: Vec<Arc<dyn HttpLayer>>,
    pub(crate) redirects: usize,
    #[cfg(feature = "cookies")]
    pub(crate) cookies: Option<crate::CookieJar>,
    #[cfg(feature = "decompression")]
    pub(crate) decompression: bool,
    pub(crate) body_idle: Option<Duration>,
}

/// What stands at the place of a layer.
#[derive(Clone, Default)]
pub(crate) enum Slot<L> {
    /// Nothing.
    #[default]
    Off,
    /// A layer of the type that is expected there.
    On(L),
    /// A layer of another type.
    Other(Arc<dyn HttpLayer>),
}

impl<L: 'static> Slot<L> {
    pub(crate) fn of<M: HttpLayer>(layer: M) -> Self {
        match same(layer) {
            Ok(layer) => Self::On(layer),
            Err(layer) => Self::Other(Arc::new(layer)),
        }
    }

    #[cfg(any(feature = "auth", feature = "cache", feature = "metrics", feature = "rate-limit"))]
    fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    fn around<S: HttpService, J: Join>(&self, inner: S) -> Switch<L::Service, S, J>
    where
        L: Layer<S>,
    {
        match self {
            Self::Off => Switch::off(inner),
            Self::On(layer) => Switch::On(layer.layer(inner)),
            Self::Other(layer) => Switch::Other(layer.over(BoxedService::new(inner))),
        }
    }
}

impl Layers {
    /// Puts a breaker next to the wire, and its gate before what makes calls wait.
    #[cfg(feature = "circuit-breaker")]
    pub(crate) fn guard<C, K, R, P>(
        &mut self,
        breaker: palisade_circuit_breaker::CircuitBreakerLayer<C, K, R, P>,
    ) where
        palisade_circuit_breaker::CircuitBreakerLayer<C, K, R, P>: HttpLayer,
        palisade_circuit_breaker::GateLayer<C, K, R, P>: HttpLayer,
    {
        #[cfg(feature = "rate-limit")]
        {
            self.gate = Slot::of(breaker.gate());
        }
        self.circuit_breaker = Slot::of(breaker);
    }

    /// Leaves the breaker out.
    #[cfg(feature = "circuit-breaker")]
    pub(crate) fn unguard(&mut self) {
        #[cfg(feature = "rate-limit")]
        {
            self.gate = Slot::Off;
        }
        self.circuit_breaker = Slot::Off;
    }

    /// The stack over a wire.
    pub(crate) fn over(&self, wire: Wire) -> BoxedService {
        #[cfg(feature = "decompression")]
        let wire = Unpacked::new(wire, self.decompression);
        #[cfg(feature = "cookies")]
        let wire = Exchange::new(wire, self.cookies.clone());
        let idle = self.body_idle;
        if self.is_plain() {
            let plain = Top::new(self.plain(wire), AsPlain, idle);
            return wrap(&self.around, BoxedService::top(plain));
        }
        let around = match &self.near[..] {
            [] => None,
            layers => Some(wrap(layers, BoxedService::new(wire.clone()))),
        };
        let near = Near::new(wire, around);
        #[cfg(feature = "metrics")]
        let near: Counted = self.attempts.around(near);
        let timed = TimeLimit::attempt(near, self.attempt);
        #[cfg(feature = "auth")]
        let timed: Authorized = self.auth.around(timed);
        #[cfg(feature = "circuit-breaker")]
        let timed: Guarded = self.circuit_breaker.around(timed);
        #[cfg(feature = "rate-limit")]
        let timed: InFlight = self.concurrency_limit.around(timed);
        #[cfg(feature = "rate-limit")]
        let timed: Limited = self.rate_limit.around(timed);
        #[cfg(all(feature = "circuit-breaker", feature = "rate-limit"))]
        let timed: Gated = match (&self.rate_limit, &self.concurrency_limit) {
            // Nothing makes a call wait.
            (Slot::Off, Slot::Off) => Switch::off(timed),
            _ => self.gate.around(timed),
        };
        #[cfg(feature = "retry")]
        let timed: Retried = self.retry.around(timed);
        #[cfg(feature = "cache")]
        let timed: Cached = self.cache.around(Ended::fetch(timed, self.total));
        let followed = Follow::new(timed, self.redirects);
        let due = Due::call(followed, self.total, self.tells_deadline);
        #[cfg(feature = "metrics")]
        let due: Whole = self.calls.around(due);
        wrap(&self.around, BoxedService::top(Top::new(due, AsStack, idle)))
    }
}

fn wrap(layers: &[Arc<dyn HttpLayer>], service: BoxedService) -> BoxedService {
    layers.iter().rev().fold(service, |service, layer| layer.over(service))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::{plain::Plain, top::TopFuture, *};
    use crate::{Body, ResponseBody};

    // Each layer moves what it is given. Of a call there is one piece of memory, and glibc has
    // such of up to 1,032 bytes at hand for each thread.
    #[test]
    fn what_layers_move_is_small() {
        for (what, size, most) in [
            ("request", size_of::<Request<Body>>(), 256),
            ("call", size_of::<TopFuture<Whole, AsStack>>(), 1032),
            ("plain call", size_of::<TopFuture<Plain, AsPlain>>(), 1032),
            ("response", size_of::<Response<ResponseBody>>(), 352),
        ] {
            assert!(size <= most, "{what}: {size} bytes");
        }
    }
}
