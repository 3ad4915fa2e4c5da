use std::{thread::sleep, time::Duration};

use palisade_circuit_breaker::CircuitBreakerHandle;
use palisade_core::Outcome;
use tower::Layer;
use tower_service::Service;

use super::{
    failsafe_by_time, palisade_by_count, palisade_by_time, recloser_by_count, resilience_by_count,
    resilience_by_time,
};
use crate::{
    inner::Healthy,
    request,
    subject::{BARE, Subject, at_once},
    subjects::{failsafe, recloser},
};

/// A call that succeeds, over a window of the last hundred.
pub(in crate::benches) fn count() -> Vec<Subject> {
    let recloser = recloser::service(recloser_by_count(), Healthy);
    let resilience = resilience_by_count().build().expect("a valid breaker");
    vec![
        Subject::immediate(BARE, Healthy, request::get),
        Subject::immediate("palisade", palisade_by_count().layer(Healthy), request::get),
        Subject::immediate("tower-resilience", resilience.layer(Healthy), request::get),
        Subject::immediate("recloser", recloser, request::get),
    ]
}

/// A call that succeeds, over a window of 10 seconds with a hundred calls in it: fifty when those
/// begin that count, and a hundred more at their end.
///
/// Each turn has a service of its own, for nobody can wait until the calls have left the window.
pub(in crate::benches) fn time() -> Vec<Subject> {
    vec![
        Subject::immediate(BARE, Healthy, request::get),
        Subject::renewed(|| {
            Subject::immediate("palisade", palisade_by_time().layer(Healthy), request::get)
        }),
        Subject::renewed(|| {
            let layer = resilience_by_time().build().expect("a valid breaker");
            Subject::immediate("tower-resilience", layer.layer(Healthy), request::get)
        }),
        Subject::renewed(|| {
            let failsafe = failsafe::service(failsafe_by_time(), Healthy);
            Subject::immediate("failsafe", failsafe, request::get)
        }),
    ]
}

/// What a window of 10 seconds holds of a service that is called a hundred thousand times a second.
const MILLION: u64 = 1_000_000;

/// What `tower-resilience` holds instead. For each call it walks over all that the window holds, so
/// it has not come to a million when the first ones leave.
const MOST: usize = 50_000;

/// A call that succeeds, over a window of 10 seconds with a million calls in it.
///
/// These are real calls in real time: paused time would cost every later look at the clock. They
/// come in two halves that are more than a bucket of palisade's apart, for a bucket counts up to
/// 1,048,575 calls, and one that is full halves its counts. What leaves the window is made up for before
/// each turn; `failsafe` does not say what its window holds, and is through before anything leaves.
#[expect(clippy::disallowed_methods, reason = "a benchmark waits for its window in real time")]
pub(in crate::benches) fn busy_time() -> Vec<Subject> {
    let palisade = palisade_by_time();
    let handle = palisade.handle();
    let failsafe = failsafe::service(failsafe_by_time(), Healthy);
    let mut failsafe = Subject::immediate("failsafe", failsafe, request::get);

    let half = MILLION / 2;
    fill(&handle, half);
    failsafe.call(half as u32);
    sleep(Duration::from_millis(1100));
    fill(&handle, MILLION);
    failsafe.call(half as u32);

    let resilience = resilience_by_time().build().expect("a valid breaker").layer(Healthy);
    let mut log = resilience.clone();
    let refill = move || {
        for _ in at_once(log.metrics()).total_calls..MOST {
            at_once(log.call(request::get())).expect("an answer");
        }
    };
    vec![
        Subject::immediate(BARE, Healthy, request::get),
        Subject::immediate("palisade", palisade.layer(Healthy), request::get)
            .prepared(move || fill(&handle, MILLION)),
        Subject::immediate("tower-resilience", resilience, request::get).prepared(refill),
        failsafe,
    ]
}

fn fill(breaker: &CircuitBreakerHandle, calls: u64) {
    for _ in breaker.snapshot().calls..calls {
        breaker.try_acquire().expect("it is closed").record(Outcome::Success);
    }
}
