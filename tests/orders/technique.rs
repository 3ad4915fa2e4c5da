//! The layers, and what each of them says.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use palisade_auth::{AuthLayer, Tokens, TokioClock};
use palisade_cache::{HttpCacheLayer, MemoryStore, background_fn};
use palisade_circuit_breaker::{CircuitBreakerHandle, CircuitBreakerLayer, HalfOpen, State, Trip};
use palisade_client::{DecodeLayer, Decoded};
use palisade_core::{
    BoxError, Boxed as BoxedErrors, ByAuthority, Event, HttpClassify, Observer, Target,
};
use palisade_metrics::{Registry, Requests};
use palisade_otel::TraceLayer;
use palisade_rate_limit::{
    Aimd, ConcurrencyLimitLayer, ConcurrencySnapshot, Feedback, Limiter, Quota, RateLimitLayer,
    Wait,
};
use palisade_retry::{Backoff, Jitter, ReadAheadLayer, RetryLayer};
use tower::{Layer, ServiceExt};
use tower_http::{decompression::DecompressionLayer, follow_redirect::FollowRedirectLayer};

use super::{
    bottom::{World, bytes_body},
    tap::{Body, Boxed, Counts},
};

/// A service with a layer around it, as one of all services.
macro_rules! boxed {
    ($layer:expr, $inner:expr) => {
        Boxed::new(
            $layer
                .layer($inner)
                .map_response(|response: http::Response<_>| {
                    response.map(|body| BodyExt::map_err(body, Into::into).boxed_unsync())
                })
                .map_err(BoxError::from),
        )
    };
}

/// What a stack is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Technique {
    Calls,
    Attempts,
    Served,
    Trace,
    Cache,
    SharedCache,
    ShortTimeout,
    LongTimeout,
    Retry,
    TimedRetry,
    ReadAhead,
    Breaker,
    BreakerPerHost,
    BreakerOfBodies,
    WaitingBreaker,
    RateLimit,
    LearningLimit,
    WaitingLimit,
    Concurrency,
    Adaptive,
    TowerConcurrency,
    Auth,
    Decode,
    Decompress,
    Redirect,
    Buffer,
    LoadShed,
}

impl Technique {
    pub(crate) const ALL: [Self; 27] = [
        Self::Calls,
        Self::Attempts,
        Self::Served,
        Self::Trace,
        Self::Cache,
        Self::SharedCache,
        Self::ShortTimeout,
        Self::LongTimeout,
        Self::Retry,
        Self::TimedRetry,
        Self::ReadAhead,
        Self::Breaker,
        Self::BreakerPerHost,
        Self::BreakerOfBodies,
        Self::WaitingBreaker,
        Self::RateLimit,
        Self::LearningLimit,
        Self::WaitingLimit,
        Self::Concurrency,
        Self::Adaptive,
        Self::TowerConcurrency,
        Self::Auth,
        Self::Decode,
        Self::Decompress,
        Self::Redirect,
        Self::Buffer,
        Self::LoadShed,
    ];

    /// Puts the layer around a service.
    pub(crate) fn around(self, inner: Boxed, world: &World) -> (Boxed, Instrument) {
        let unit = world.unit();
        let told = Arc::new(Told::default());
        let observer = || Arc::clone(&told) as Arc<dyn Observer>;
        match self {
            Self::Calls | Self::Attempts | Self::Served => {
                let registry = Registry::new();
                let layer = match self {
                    Self::Calls => registry.calls(),
                    Self::Attempts => registry.attempts(),
                    _ => registry.served(),
                };
                (boxed!(layer, inner), Instrument::Metrics(self, registry))
            }
            Self::Trace => {
                let exporter = InMemorySpanExporter::default();
                let provider =
                    SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
                let layer = TraceLayer::new().tracer(provider.tracer("orders"));
                (boxed!(layer, inner), Instrument::Spans(exporter))
            }
            Self::Cache | Self::SharedCache => {
                let store = MemoryStore::new(1 << 20);
                let service = if self == Self::Cache {
                    #[expect(clippy::disallowed_methods, reason = "it is not a layer")]
                    let background = background_fn(|task| drop(tokio::spawn(task)));
                    let layer = HttpCacheLayer::private(store).background(background);
                    let layer = layer.stale_while_revalidate(unit).stale_if_error(10 * unit);
                    boxed!(layer.clock(Arc::new(world.clock())).observer(observer()), inner)
                } else {
                    let layer = HttpCacheLayer::shared(store);
                    boxed!(layer.clock(Arc::new(world.clock())).observer(observer()), inner)
                };
                (service, Instrument::Cache(told))
            }
            Self::ShortTimeout | Self::LongTimeout => {
                let units = if self == Self::ShortTimeout { 5 } else { 20 };
                let layer = tower::timeout::TimeoutLayer::new(world.patience(units));
                (boxed!(layer, inner), Instrument::Passes)
            }
            Self::Retry => {
                let layer = RetryLayer::http()
                    .backoff(Backoff::constant(unit / 100).jitter(Jitter::None))
                    .replay(1 << 16)
                    .observer(observer());
                (boxed!(layer, own_bodies(inner)), Instrument::Retry(told))
            }
            Self::TimedRetry => {
                let layer = RetryLayer::http()
                    .attempts(5)
                    .budget(palisade_retry::Unlimited)
                    .attempt_timeout(world.patience(4))
                    .deadline(world.patience(15))
                    .backoff(Backoff::exponential(unit / 10))
                    .replay(16)
                    .observer(observer());
                (boxed!(layer, own_bodies(inner)), Instrument::Retry(told))
            }
            Self::ReadAhead => (boxed!(ReadAheadLayer::new(1 << 16), inner), Instrument::Passes),
            Self::Breaker => {
                let layer = breaker(world).observer(observer());
                let handle = layer.handle();
                let all = move || vec![handle.clone()];
                (boxed!(layer, inner), Instrument::Breaker(told, Box::new(all)))
            }
            Self::BreakerPerHost => {
                let layer = breaker(world).observer(observer()).keyed(ByAuthority);
                let breakers = layer.breakers();
                let all = move || breakers.all().into_iter().map(|(_, handle)| handle).collect();
                (boxed!(layer, inner), Instrument::Breaker(told, Box::new(all)))
            }
            Self::BreakerOfBodies => {
                let layer = breaker(world).observer(observer()).at_body_end();
                let handle = layer.handle();
                let all = move || vec![handle.clone()];
                (boxed!(layer, inner), Instrument::Breaker(told, Box::new(all)))
            }
            Self::WaitingBreaker => {
                let layer = breaker(world).observer(observer()).backpressure();
                let handle = layer.handle();
                let all = move || vec![handle.clone()];
                (boxed!(layer, inner), Instrument::WaitingBreaker(Box::new(all)))
            }
            Self::RateLimit => {
                let layer = rate(world).observer(observer());
                let limiter = layer.handle();
                (boxed!(layer, inner), Instrument::Rate(told, limiter))
            }
            Self::LearningLimit => {
                let layer = rate(world).observer(observer()).learn(Feedback::standard());
                let limiter = layer.handle();
                (boxed!(layer, inner), Instrument::Rate(told, limiter))
            }
            Self::WaitingLimit => {
                let layer = rate(world).backpressure();
                let limiter = layer.handle();
                (boxed!(layer, inner), Instrument::WaitingRate(limiter))
            }
            Self::Concurrency => {
                let layer = ConcurrencyLimitLayer::new(LIMIT).wait(Wait::forever());
                let layer = layer.observer(observer());
                let limiter = layer.handle();
                let snapshot = move || limiter.snapshot();
                (boxed!(layer, inner), Instrument::Concurrency(told, Box::new(snapshot)))
            }
            Self::Adaptive => {
                let algorithm = Aimd::new(LIMIT).bounds(2..=2 * LIMIT);
                let layer = ConcurrencyLimitLayer::adaptive(algorithm).wait(Wait::forever());
                let layer = layer.observer(observer());
                let limiter = layer.handle();
                let snapshot = move || limiter.snapshot();
                (boxed!(layer, inner), Instrument::Concurrency(told, Box::new(snapshot)))
            }
            Self::TowerConcurrency => {
                let layer = tower::limit::ConcurrencyLimitLayer::new(LIMIT);
                (boxed!(layer, inner), Instrument::Passes)
            }
            Self::Auth => {
                let tokens =
                    Tokens::new(world.token_source()).clock(TokioClock::new(world.clock()));
                let layer = AuthLayer::new(tokens, world.origins()).replay(1 << 16);
                let layer = layer.observer(observer());
                (boxed!(layer, own_bodies(inner)), Instrument::Auth(told))
            }
            Self::Decode => {
                let layer = DecodeLayer::<serde_json::Value>::json();
                let service = layer.layer(inner).map_response(|response: http::Response<_>| {
                    response.map(|decoded| match decoded {
                        Decoded::Value(value) => bytes_body(value.to_string()),
                        Decoded::Body(body) => body,
                    })
                });
                (Boxed::new(service), Instrument::Passes)
            }
            Self::Decompress => (boxed!(DecompressionLayer::new(), inner), Instrument::Passes),
            Self::Redirect => (boxed!(FollowRedirectLayer::new(), inner), Instrument::Redirect),
            Self::Buffer => {
                let layer = tower::buffer::BufferLayer::new(2 * LIMIT);
                (boxed!(layer, inner), Instrument::Buffer)
            }
            Self::LoadShed => {
                (boxed!(tower::load_shed::LoadShedLayer::new(), inner), Instrument::LoadShed)
            }
        }
    }
}

/// How much each limit lets through at once.
pub(crate) const LIMIT: usize = 4;

/// The service, for layers that keep bodies in a type of their own.
fn own_bodies<B>(
    inner: Boxed,
) -> impl tower::Service<
    http::Request<B>,
    Response = http::Response<Body>,
    Error = BoxError,
    Future: Send,
> + Clone
+ Send
+ Sync
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    inner.map_request(|request: http::Request<B>| {
        request.map(|body| BodyExt::map_err(body, Into::into).boxed_unsync())
    })
}

fn breaker(world: &World) -> CircuitBreakerLayer<HttpClassify<BoxedErrors>> {
    CircuitBreakerLayer::http()
        .trip(Trip::consecutive(3))
        .open_for(Backoff::constant(5 * world.unit()).jitter(Jitter::None))
        .half_open(HalfOpen::permits(2))
}

fn rate(world: &World) -> RateLimitLayer {
    RateLimitLayer::new(Quota::every(world.unit() / 20).burst(LIMIT as u32)).wait(Wait::forever())
}

/// What was told, by name.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<&'static str, u64>>);

impl Told {
    fn times(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

impl Observer for Told {
    fn on_event(&self, _: Target<'_>, event: &Event) {
        let name = match event {
            Event::Retry { .. } => "retry",
            Event::GaveUp { reason, .. } => reason,
            Event::Refused { .. } => "refused",
            Event::Cache { status } => status,
            _ => return,
        };
        *self.0.lock().unwrap().entry(name).or_default() += 1;
    }
}

/// What a layer says of itself.
pub(crate) enum Instrument {
    /// Nothing: it calls once for each call.
    Passes,
    Metrics(Technique, Registry),
    Spans(InMemorySpanExporter),
    Cache(Arc<Told>),
    Retry(Arc<Told>),
    Breaker(Arc<Told>, Handles),
    WaitingBreaker(Handles),
    Rate(Arc<Told>, Limiter),
    WaitingRate(Limiter),
    Concurrency(Arc<Told>, Box<dyn Fn() -> ConcurrencySnapshot + Send + Sync>),
    Auth(Arc<Told>),
    Redirect,
    Buffer,
    LoadShed,
}

type Handles = Box<dyn Fn() -> Vec<CircuitBreakerHandle> + Send + Sync>;

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(told) | Self::Retry(told) | Self::Auth(told) => told.fmt(f),
            Self::Breaker(told, all) => f.debug_tuple("Breaker").field(told).field(&all()).finish(),
            Self::WaitingBreaker(all) => f.debug_tuple("Breaker").field(&all()).finish(),
            Self::Rate(told, limiter) => {
                f.debug_tuple("Rate").field(told).field(&limiter.snapshot()).finish()
            }
            Self::WaitingRate(limiter) => f.debug_tuple("Rate").field(&limiter.snapshot()).finish(),
            Self::Concurrency(told, snapshot) => {
                f.debug_tuple("Concurrency").field(told).field(&snapshot()).finish()
            }
            _ => f.write_str("nothing"),
        }
    }
}

impl Instrument {
    /// How many calls it lets through at once.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Concurrency(_, snapshot) => snapshot().limit,
            _ => LIMIT,
        }
    }

    /// Whether it lets calls through.
    pub(crate) fn is_well(&self) -> bool {
        match self {
            Self::Breaker(_, all) | Self::WaitingBreaker(all) => {
                all().iter().all(|breaker| breaker.state() == State::Closed)
            }
            Self::Rate(_, limiter) | Self::WaitingRate(limiter) => {
                limiter.snapshot().paused_for.is_none()
            }
            _ => true,
        }
    }

    /// Holds what it says, once all calls have ended, against what came in above and went out
    /// below.
    pub(crate) fn check(&self, above: &Counts, below: &Counts) {
        let (calls, sent) = (above.calls, below.calls);
        let followed = above.is_calm() && below.is_calm();
        match self {
            Self::Passes => assert_eq!(sent, calls),
            Self::Metrics(place, registry) => {
                assert_eq!(sent, calls);
                check_metrics(*place, registry, above);
            }
            Self::Spans(exporter) => {
                assert_eq!(sent, calls);
                assert_eq!(exporter.get_finished_spans().unwrap().len() as u64, calls);
            }
            Self::Cache(told) => {
                let [hits, stale, collapsed] =
                    ["hit", "stale", "collapsed"].map(|status| told.times(status));
                let answered = hits + stale + collapsed;
                let asked = ["revalidated", "miss", "bypass"].map(|status| told.times(status));
                if followed {
                    // What is fetched in the background is told as well.
                    let all = answered + asked.iter().sum::<u64>();
                    assert!((calls..=calls + stale).contains(&all), "{all} of {calls}, {told:?}");
                    assert!(calls - answered <= sent, "{told:?}: {sent}");
                }
                // What is stale is fetched anew in the background.
                assert!(sent <= calls + stale, "{told:?}: {sent} of {calls}");
            }
            Self::Retry(told) => {
                let retries = told.times("retry");
                assert!((calls..=calls + retries).contains(&sent), "{told:?}: {sent} of {calls}");
                if followed {
                    // One that waits until the service is ready gives up at its deadline.
                    let late = told.times("deadline");
                    assert!(calls + retries <= sent + late, "{told:?}: {sent} of {calls}");
                }
            }
            Self::Breaker(told, _) => assert_eq!(sent + told.times("refused"), calls),
            Self::WaitingBreaker(_) => assert_eq!(sent, calls),
            Self::Rate(told, limiter) => {
                let snapshot = limiter.snapshot();
                assert_eq!(snapshot.waiting, 0);
                check_limit(told, above, below);
            }
            Self::WaitingRate(limiter) => {
                assert_eq!(limiter.snapshot().waiting, 0);
                assert_eq!(sent, calls);
            }
            Self::Concurrency(told, snapshot) => {
                let snapshot = snapshot();
                assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
                check_limit(told, above, below);
            }
            Self::Auth(told) => {
                let refused = told.times("refused");
                let again = below.status(401);
                assert!(sent <= calls - refused + again, "{sent} of {calls}, {told:?}");
                if followed {
                    assert!(calls - refused <= sent, "{sent} of {calls}, {told:?}");
                }
            }
            Self::Redirect => {
                assert!(calls <= sent && sent <= 11 * calls, "{sent} of {calls}");
                let followed = [301, 302, 303, 307, 308].map(|status| below.status(status));
                assert!(sent <= calls + followed.iter().sum::<u64>());
            }
            Self::Buffer => {
                assert!(sent <= calls);
                if followed {
                    assert_eq!(sent, calls);
                }
            }
            Self::LoadShed => {
                let shed = above.shed - below.shed.min(above.shed);
                assert!(sent + shed <= calls, "{sent} and {shed} of {calls}");
                if followed {
                    assert_eq!(sent + shed, calls);
                }
            }
        }
    }
}

fn check_limit(told: &Told, above: &Counts, below: &Counts) {
    let refused = told.times("refused");
    assert!(below.calls + refused <= above.calls);
    // Who waits may leave.
    if above.dropped == 0 {
        assert_eq!(below.calls + refused, above.calls);
    }
}

fn check_metrics(place: Technique, registry: &Registry, above: &Counts) {
    let snapshot = registry.snapshot();
    let requests: &Requests = match place {
        Technique::Calls => &snapshot.calls,
        Technique::Attempts => &snapshot.attempts,
        _ => &snapshot.served,
    };
    assert_eq!((requests.in_flight(), requests.streams(), requests.unready), (0, 0, 0));
    assert_eq!(requests.count(), above.calls);
    assert_eq!(requests.received(), above.received);
    for (status, count) in &above.answered {
        assert_eq!(requests.status(*status), *count, "{status}");
    }
    let results = requests.groups.iter().flat_map(|group| &group.results);
    let headless = results.filter(|result| result.status.is_none());
    let mut errors = BTreeMap::<&str, u64>::new();
    for result in headless {
        *errors.entry(result.error.as_deref().unwrap()).or_default() += result.times.count();
    }
    let mut expected: BTreeMap<&str, u64> =
        [("cancelled", above.dropped), ("panic", above.panicked)].into();
    for (kind, count) in &above.failed {
        *expected.entry(kind.as_str()).or_default() += count;
    }
    expected.retain(|_, count| *count > 0);
    assert_eq!(errors, expected);
}
