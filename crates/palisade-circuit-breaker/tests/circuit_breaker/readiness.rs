use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use palisade_circuit_breaker::{CircuitBreakerLayer, Open, OpenReason, State, Trip};
use palisade_core::find_cause;
use palisade_testkit::{Pace, ProbePlan, probe_request};
use tower::{Layer, Service, ServiceExt};

use crate::api::{Api, End, OK, SECOND, TRIPPED, pass, simple, watched};

// Hole 8.
#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_a_failure() {
    let (api, breaker) = watched(simple());
    api.probe.set(ProbePlan { ready_fails: true, ..ProbePlan::default() });
    for failures in 0..3 {
        assert_eq!(breaker.snapshot().failures_in_row, failures);
        assert_eq!(api.call().await, End::Failed);
    }
    assert_eq!(api.call().await, TRIPPED);

    // Of a probe as well.
    pass(5 * SECOND).await;
    assert_eq!(api.call().await, End::Failed);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(api.call().await, TRIPPED);
    assert_eq!(api.probe.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_down_is_not_asked_whether_it_is_ready() {
    let api = Api::new(simple());
    api.fail().await;
    api.probe.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    assert_eq!(api.call().await, TRIPPED);
}

#[tokio::test(start_paused = true)]
async fn opens_between_readiness_and_call() {
    let (api, breaker) = watched(simple());
    let mut client = api.client.clone();
    client.ready().await.unwrap();
    breaker.force_open();
    let error = client.call(probe_request(1)).await.unwrap_err();
    assert_eq!(find_cause::<Open>(&*error).unwrap().reason(), OpenReason::Forced);
    breaker.reset();
    // The inner service was ready all the time.
    client.ready().await.unwrap().call(probe_request(1)).await.unwrap();
    assert_eq!((api.probe.calls(), api.probe.offences()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn opens_while_the_service_gets_ready() {
    let (api, breaker) = watched(simple());
    api.probe.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    let mut client = api.client.clone();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(client.poll_ready(&mut cx).is_pending());
    breaker.force_open();
    assert!(matches!(client.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    client.call(probe_request(1)).await.unwrap_err();
    assert_eq!((api.probe.calls(), api.probe.offences()), (0, vec![]));
}

// Ready to refuse, it refuses: the inner service was not asked.
#[tokio::test(start_paused = true)]
async fn closes_between_readiness_and_call() {
    let (api, breaker) = watched(simple());
    for by_time in [false, true] {
        api.fail().await;
        let mut client = api.client.clone();
        poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
        match by_time {
            true => pass(5 * SECOND).await,
            false => breaker.reset(),
        }
        let calls = api.probe.calls();
        let error = client.call(probe_request(1)).await.unwrap_err();
        let open = find_cause::<Open>(&*error).unwrap();
        assert_eq!(open.retry_after(), Some(std::time::Duration::ZERO), "try again at once");
        assert_eq!((api.probe.calls(), api.probe.offences()), (calls, vec![]));
        api.answers(200);
        assert_eq!(api.call().await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_it_gets_ready_is_a_failure() {
    #[derive(Clone)]
    struct Panics;

    impl Service<()> for Panics {
        type Response = ();
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<(), Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            std::panic::resume_unwind(Box::new("not ready"));
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it was never ready")
        }
    }

    let layer = CircuitBreakerLayer::new(Trip::consecutive(1));
    let breaker = layer.handle();
    assert!(tokio::spawn(layer.layer(Panics).oneshot(())).await.unwrap_err().is_panic());
    assert_eq!(breaker.state(), State::Open);

    breaker.reset();
    let waiting = layer.backpressure().layer(Panics);
    assert!(tokio::spawn(waiting.oneshot(())).await.unwrap_err().is_panic());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_stays_ready() {
    let (api, breaker) = watched(simple());
    api.fail().await;
    api.probe.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    let mut client = api.client.clone();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(client.poll_ready(&mut cx).is_ready());
    breaker.reset();
    // The inner service is not: so it is ready to refuse, as it was.
    assert!(client.poll_ready(&mut cx).is_ready());
    client.call(probe_request(1)).await.unwrap_err();
    assert!(client.poll_ready(&mut cx).is_pending());

    // Asked again, it takes the call after all if it can.
    breaker.force_open();
    assert!(client.poll_ready(&mut cx).is_ready());
    breaker.reset();
    api.probe.release();
    assert!(client.poll_ready(&mut cx).is_ready());
    client.call(probe_request(1)).await.unwrap();
    assert_eq!(api.probe.offences(), vec![]);
}
