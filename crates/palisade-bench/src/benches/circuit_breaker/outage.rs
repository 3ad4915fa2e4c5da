use std::future::{poll_fn, ready};

use failsafe::{backoff::constant, failure_policy::consecutive_failures};
use http::{Request, Response};
use palisade_circuit_breaker::{Backoff, Open};
use palisade_core::BoxError;
use tower::{Layer, service_fn};
use tower_resilience_circuitbreaker::CircuitBreakerError;
use tower_service::Service;

use super::{CALLS, OPEN_FOR, palisade_by_count, recloser_by_count, resilience_by_count};
use crate::{
    inner::{Body, Mortal},
    request,
    row::Row,
    subject::{BARE, Subject, at_once},
    subjects::{self, Refused, recloser},
};

const SUCCESSES: u32 = 100_000;

/// 100,000 successes, and then nothing but failures: after how many is the breaker open?
///
/// `failsafe` goes by the time that failures last, not by how many they are.
pub(in crate::benches) fn begin(bench: &'static str) -> Vec<Row> {
    let row = |subject, failures| Row {
        bench,
        subject,
        figures: vec![("failures", f64::from(failures))],
    };
    let palisade = palisade_by_count();
    let resilience = resilience_by_count().build().expect("a valid breaker");
    vec![
        row("palisade", failures(|inner| palisade.layer(inner))),
        row("tower-resilience", failures(|inner| resilience.layer(inner))),
        row("recloser", failures(|inner| recloser::service(recloser_by_count(), inner))),
    ]
}

/// A call that an open breaker refuses.
///
/// The bare service refuses all calls, so the request that is dropped is no part of a figure.
pub(in crate::benches) fn refusals() -> Vec<Subject> {
    let palisade = palisade_by_count().open_for(Backoff::constant(OPEN_FOR));
    let resilience = resilience_by_count().build().expect("a valid breaker");
    // The rate of failures has to be high for 10 seconds before it opens by that.
    let in_a_row = consecutive_failures(CALLS, constant(OPEN_FOR));
    let bare = service_fn(|_| ready(Err(Refused)));
    vec![
        Subject::refusals(BARE, bare, |Refused| true),
        Subject::refusals("palisade", open(|inner| palisade.layer(inner)), |error: &BoxError| {
            error.is::<Open>()
        }),
        Subject::refusals("tower-resilience", open(|inner| resilience.layer(inner)), |error| {
            matches!(error, CircuitBreakerError::OpenCircuit)
        }),
        Subject::refusals(
            "recloser",
            open(|inner| recloser::service(recloser_by_count(), inner)),
            |Refused| true,
        ),
        Subject::refusals(
            "failsafe",
            open(|inner| subjects::failsafe::service(in_a_row, inner)),
            |Refused| true,
        ),
    ]
}

/// Lets all those calls succeed, and then fail until one is refused; says how many failed.
fn failures<S>(breaker: impl FnOnce(Mortal) -> S) -> u32
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let inner = Mortal::default();
    let mut service = breaker(inner.clone());
    for _ in 0..SUCCESSES {
        assert!(is_answered(&mut service), "a breaker opens by successes");
    }
    inner.go_down();
    (0..u32::MAX).take_while(|_| is_answered(&mut service)).count() as u32
}

/// A breaker that has opened.
fn open<S>(breaker: impl FnOnce(Mortal) -> S) -> S
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let inner = Mortal::default();
    inner.go_down();
    let mut service = breaker(inner);
    while is_answered(&mut service) {}
    service
}

fn is_answered<S: Service<Request<Body>>>(service: &mut S) -> bool {
    let ready = at_once(poll_fn(|cx| service.poll_ready(cx)));
    ready.is_ok() && at_once(service.call(request::get())).is_ok()
}
