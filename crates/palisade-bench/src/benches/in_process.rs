use std::{
    convert::Infallible,
    future::{Ready, ready},
    time::Duration,
};

use http::{Request, Response};
use palisade_retry::{Backoff, IdempotentOnly, RetryLayer, Unlimited};
use tower::{Layer, retry::Retry};

use crate::{
    inner::{Body, Flaky, Healthy},
    request,
    subject::{BARE, Subject},
    subjects,
};

/// palisade's default.
const ATTEMPTS: u32 = 3;

/// A GET that succeeds: what it costs to be able to send it again.
pub(super) fn get() -> Vec<Subject> {
    vec![
        Subject::immediate(BARE, Healthy, request::get),
        Subject::immediate("palisade", RetryLayer::http().layer(Healthy), request::get),
        Subject::immediate("tower", tower_retry(Healthy), request::get),
        Subject::immediate("tower-resilience", resilience_retry().layer(Healthy), request::get),
    ]
}

/// A POST that succeeds and may not be sent again: what it costs to know that.
pub(super) fn post() -> Vec<Subject> {
    vec![
        Subject::immediate(BARE, Healthy, request::post),
        Subject::immediate(
            "palisade",
            RetryLayer::http().requests(IdempotentOnly).layer(Healthy),
            request::post,
        ),
        Subject::immediate("tower", tower_retry(Healthy), request::post),
        Subject::immediate("tower-resilience", resilience_retry().layer(Healthy), request::post),
    ]
}

/// A GET that is answered with 503, and at the second attempt with 200. Nobody waits in between.
///
/// The bare service answers 200 at once, so the second attempt is part of every other figure.
pub(super) fn one_retry() -> Vec<Subject> {
    vec![
        Subject::timed(BARE, Healthy, request::get),
        Subject::timed(
            "palisade",
            // No budget lets every call be retried, and the peers have none.
            RetryLayer::http()
                .backoff(Backoff::constant(Duration::ZERO))
                .budget(Unlimited)
                .layer(Flaky::default()),
            request::get,
        ),
        Subject::timed("tower", tower_retry(Flaky::default()), request::get),
        Subject::timed(
            "tower-resilience",
            resilience_retry().layer(Flaky::default()),
            request::get,
        ),
    ]
}

/// Without a timer, as in the documentation of `tower::retry`: its future is the smaller for it.
type TowerRetry<S> = Retry<subjects::tower::ServerErrors<fn() -> Ready<()>>, S>;

fn tower_retry<S>(inner: S) -> TowerRetry<S> {
    subjects::tower::retry(inner, ATTEMPTS, || ready(()))
}

type ResilienceLayer =
    tower_resilience_retry::RetryLayer<Request<Body>, Response<Body>, Infallible>;

fn resilience_retry() -> ResilienceLayer {
    subjects::tower_resilience::retry(ATTEMPTS as usize, Duration::ZERO)
}
