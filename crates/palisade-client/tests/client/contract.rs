//! The contract of a layer, which the stack as a whole keeps as well.

use std::task::{Context, Poll};

use futures_util::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use palisade_auth::{AuthLayer, Bearer};
use palisade_client::{Body, BoxedService, Client, ClientBuilder};
use palisade_core::{BoxError, Origins};
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer};
use palisade_testkit::{Contract, Probe, ProbeError, ProbeRequest, Readiness, Rule};
use tower::{Layer, Service};

/// The layers of a client, as one.
struct Stack(fn() -> ClientBuilder);

impl<E: From<ProbeError> + Into<BoxError> + 'static> Layer<Probe<E>> for Stack {
    type Service = BoxedService;

    fn layer(&self, probe: Probe<E>) -> BoxedService {
        (self.0)().build_over(Whole { probe }).unwrap().service().clone()
    }
}

/// Takes the bodies of a client, which are there as a whole.
struct Whole<E> {
    probe: Probe<E>,
}

impl<E: From<ProbeError>> Service<Request<Body>> for Whole<E> {
    type Response = <Probe<E> as Service<ProbeRequest>>::Response;
    type Error = E;
    type Future = <Probe<E> as Service<ProbeRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.probe.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        self.probe.call(Request::from_parts(head, Full::new(body)))
    }
}

impl<E> Clone for Whole<E> {
    fn clone(&self) -> Self {
        Self { probe: self.probe.clone() }
    }
}

fn bare() -> ClientBuilder {
    let client = Client::builder().no_retry().no_circuit_breaker().redirects(0);
    let client = client.attempt_timeout(None).total_timeout(None).body_idle_timeout(None);
    client.no_decompression()
}

fn all() -> ClientBuilder {
    // Requests of the contract go over plain http.
    let auth = AuthLayer::new(Bearer::new("t0ken").unwrap(), Origins::any()).allow_plain_http();
    Client::builder()
        .no_decompression()
        .metrics(&Registry::new())
        .rate_limit(RateLimitLayer::new(Quota::per_second(1_000_000)))
        .concurrency_limit(ConcurrencyLimitLayer::new(100))
        .auth_layer(auth)
}

/// Checks all rules, and that it takes so many allocations: not one less.
async fn check(what: &str, stack: fn() -> ClientBuilder, allocations: u64) {
    let contract = Contract::new(|| Stack(stack), || Stack(stack));
    let contract = contract.readiness(Readiness::Independent).allocations(allocations - 1);
    let violations = contract.violations().await;
    // A builder makes a client of its own each time; its clones share what it has.
    let found = violations.iter().filter(|violation| violation.rule() != Rule::SharedState);
    let found: Vec<_> = found.map(|violation| (violation.rule(), violation.detail())).collect();
    let exact = format!("{allocations} instead of {}", allocations - 1);
    assert_eq!(found, [(Rule::Allocations, &*exact); 2], "{what}");
}

#[tokio::test(start_paused = true)]
async fn the_stack_keeps_the_contract() {
    // Of a foreign service: the box of its future, and that of its body. Of a foreign
    // request: that of its body. Of the stack: its future.
    check("bare", bare, 4).await;
    // With what is kept of head and body for another attempt and for a redirect.
    check("default", || Client::builder().no_decompression(), 7).await;
    // The other layers take one more.
    check("all", all, 8).await;
}
