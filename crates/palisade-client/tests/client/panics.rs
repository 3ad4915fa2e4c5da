//! Code of the user's that panics once, under all layers: whoever else calls goes on.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use palisade_auth::{
    Applied, AuthLayer, Authenticator, Refused, Stamp, Token, Tokens, TokioClock, token_fn,
};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::{
    Backoff, CircuitBreakerHandle, CircuitBreakerLayer, HalfOpen, Jitter, State, Trip,
};
use palisade_client::{Body, BoxedService, Client, Error, HttpLayer, Report, validate_fn};
use palisade_core::{
    BoxError, Boxed, Classify, ErrorKind, Event, HttpClassify, Observer, Origins, Outcome, Target,
};
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, ConcurrencyLimiter, Quota, RateLimitLayer};
use palisade_retry::{RetryLayer, Rules};
use palisade_testkit::PausedClock;
use tokio::time::{sleep, timeout};
use tower::{ServiceExt, layer::layer_fn, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);

/// Where it panics, and when it has passed there how many times.
#[derive(Clone, Debug, Default)]
struct Trap(Arc<Mutex<Option<(&'static str, usize)>>>);

impl Trap {
    fn pass(&self, here: &str) {
        let mut trap = self.0.lock().unwrap();
        match &mut *trap {
            Some((place, 0)) if *place == here => {
                *trap = None;
                drop(trap);
                panic!("as it was told, in the {here}");
            }
            Some((place, left)) if *place == here => *left -= 1,
            _ => {}
        }
    }
}

impl Observer for Trap {
    fn on_event(&self, _: Target<'_>, _: &Event) {
        self.pass("observer");
    }
}

/// Judges as layers do by default.
#[derive(Clone, Debug)]
struct Judge(Trap, &'static str);

impl<B> Classify<Response<B>, BoxError> for Judge {
    fn classify(&self, result: Result<&Response<B>, &BoxError>) -> Outcome {
        self.0.pass(self.1);
        HttpClassify::<Boxed>::new().classify(result)
    }

    fn kind(&self, error: &BoxError) -> ErrorKind {
        ErrorKind::of(&**error)
    }
}

#[derive(Clone)]
struct Signs(Trap, Tokens);

impl Authenticator for Signs {
    type Wait = <Tokens as Authenticator>::Wait;

    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Self::Wait> {
        self.0.pass("authenticator");
        self.1.apply(request)
    }

    fn refused<B>(&self, stamp: Stamp, response: &Response<B>) -> Refused<Self::Wait> {
        self.1.refused(stamp, response)
    }
}

fn layer(trap: &Trap, call: &'static str, future: &'static str) -> impl HttpLayer + use<> {
    let trap = trap.clone();
    layer_fn(move |inner: BoxedService| {
        let trap = trap.clone();
        service_fn(move |request: Request<Body>| {
            trap.pass(call);
            let (trap, answer) = (trap.clone(), inner.clone().oneshot(request));
            async move {
                let answer = answer.await?;
                trap.pass(future);
                Ok::<_, BoxError>(answer)
            }
        })
    })
}

/// The pieces of a body.
fn pieces(trap: &Trap, place: &'static str, pieces: [&'static str; 3]) -> Body {
    let trap = trap.clone();
    let pieces = stream::unfold(pieces.into_iter(), move |mut left| {
        let trap = trap.clone();
        async move {
            let piece = Bytes::from(left.next()?);
            sleep(TICK).await;
            trap.pass(place);
            Some((Ok::<_, BoxError>(Frame::data(piece)), left))
        }
    });
    Body::stream(StreamBody::new(pieces))
}

struct World {
    client: Client,
    trap: Trap,
    breaker: CircuitBreakerHandle,
    limiter: ConcurrencyLimiter,
    metrics: Registry,
}

impl World {
    fn new() -> Self {
        let (trap, metrics) = (Trap::default(), Registry::new());
        let limit = ConcurrencyLimitLayer::new(2);
        let breaker = CircuitBreakerLayer::<HttpClassify<Boxed>>::http()
            .trip(Trip::consecutive(2))
            .open_for(Backoff::constant(SECOND).jitter(Jitter::None))
            .half_open(HalfOpen::permits(1).timeout(SECOND))
            .classify(Judge(trap.clone(), "breaker's verdict"));
        let retry = RetryLayer::<Rules<HttpClassify<Boxed>>>::http();
        let fetching = trap.clone();
        let tokens = Tokens::new(token_fn(move |_| {
            fetching.pass("token function");
            let fetching = fetching.clone();
            async move {
                sleep(TICK).await;
                fetching.pass("token future");
                Ok(Token::bearer("t0ken")?)
            }
        }));
        let clock = TokioClock::new(PausedClock::starting_at(SystemTime::UNIX_EPOCH));
        let tokens = tokens.clock(clock);
        let answering = trap.clone();
        let api = service_fn(move |request: Request<Body>| {
            let trap = answering.clone();
            async move {
                let down = request.uri().path() == "/down";
                request.into_body().collect().await?;
                sleep(TICK).await;
                trap.pass("service");
                let response = Response::builder().status(if down { 503 } else { 200 });
                let response = response.header("cache-control", "max-age=60");
                Ok::<_, BoxError>(response.body(pieces(&trap, "answer", ["", "1", " "]))?)
            }
        });
        let (limiter, handle) = (limit.handle(), breaker.handle());
        let auth = AuthLayer::new(Signs(trap.clone(), tokens), Origins::any());
        let client = Client::builder()
            .base_url("https://api.example")
            .layer(layer(&trap, "layer", "layer's future"))
            .attempt_layer(layer(&trap, "attempt layer", "attempt layer's future"))
            .metrics(&metrics)
            .observer(Arc::new(trap.clone()))
            .cache(HttpCacheLayer::private(MemoryStore::new(1 << 20)))
            .retry(retry.classify(Judge(trap.clone(), "retry's verdict")))
            .circuit_breaker(breaker)
            .rate_limit(RateLimitLayer::new(Quota::per_second(1_000)))
            .concurrency_limit(limit)
            .auth_layer(auth);
        let client = client.build_over(api).unwrap();
        Self { client, trap, breaker: handle, limiter, metrics }
    }

    /// How many of some calls succeed, fail and panic.
    async fn calls(&self, method: &str, path: &'static str) -> [usize; 3] {
        let calls = (0..4).map(|_| {
            let request = self.client.request(method.parse().unwrap(), path);
            let request = match method {
                "GET" => request,
                _ => request.body(pieces(&self.trap, "request", ["a", "b", "c"])),
            };
            let trap = self.trap.clone();
            let rule = validate_fn(move |_: &u32, _: &mut Report| trap.pass("validator"));
            tokio::spawn(async move {
                request.send().await?.lenient().json::<u32>().valid_by(rule).await
            })
        });
        let ends = timeout(1000 * SECOND, join_all(calls.collect::<Vec<_>>())).await;
        let ends = ends.expect("nobody hangs");
        let fails = |end: &&Result<Result<u32, Error>, _>| matches!(end, Ok(Err(_)));
        let panics = ends.iter().filter(|end| end.is_err()).count();
        let fails = ends.iter().filter(fails).count();
        [ends.len() - fails - panics, fails, panics]
    }

    /// Whether all is as if nothing had been, once all are done.
    async fn check(&self, told: &str) {
        for method in ["PUT", "GET"] {
            assert_eq!(self.calls(method, "/after").await, [4, 0, 0], "{told}");
        }
        let (limit, metrics) = (self.limiter.snapshot(), self.metrics.snapshot());
        assert_eq!((limit.in_flight, limit.waiting), (0, 0), "{told}");
        assert_eq!((metrics.calls.in_flight(), metrics.attempts.in_flight()), (0, 0), "{told}");
        assert_eq!(self.breaker.state(), State::Closed, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_users_harms_no_other_call() {
    for (place, most) in [
        ("authenticator", 3),
        ("token function", 1),
        ("token future", 1),
        ("breaker's verdict", 3),
        ("retry's verdict", 3),
        ("layer", 3),
        ("layer's future", 3),
        ("attempt layer", 3),
        ("attempt layer's future", 3),
        ("service", 3),
        ("answer", 6),
        ("request", 6),
        ("validator", 3),
        ("observer", 20),
    ] {
        let mut sprung = 0;
        for (passed, method, opens) in (0..most).flat_map(|passed| {
            [("GET", false), ("GET", true), ("PUT", false), ("PUT", true)]
                .map(|(method, opens)| (passed, method, opens))
        }) {
            let told = format!("{place}, {passed} passed, {method}, open: {opens}");
            let world = World::new();
            if opens {
                let down = world.client.post("/down").send().await;
                let _ = (down, world.client.post("/down").send().await);
                assert_eq!(world.breaker.state(), State::Open);
                // The next one is the probe.
                sleep(SECOND).await;
            }
            *world.trap.0.lock().unwrap() = Some((place, passed));
            let [_, _, panics] = world.calls(method, "/").await;
            assert!(panics <= 1, "{told}: {panics}");
            sprung += usize::from(world.trap.0.lock().unwrap().take().is_none());
            // A source of tokens is asked again after a while.
            sleep(60 * SECOND).await;
            world.check(&told).await;
        }
        // Wherever it is passed at all, if not by each call.
        assert!(most <= sprung, "{place}: {sprung}");
    }
}
