use palisade_circuit_breaker::{CircuitBreakerLayer, OnCancel, State, Trip, Window};
use palisade_testkit::{Answer, probe_request};
use tower::{Service, ServiceBuilder, ServiceExt, timeout::TimeoutLayer};

use crate::api::{Api, MS, SECOND, TRIPPED, pass, simple, watched};

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_counts_for_nothing() {
    let (api, breaker) =
        watched(simple().trip(Trip::failure_rate(0.1).window(Window::count(10)).min_calls(1)));
    api.hangs();
    for _ in 0..100 {
        let call = api.begin().await;
        pass(SECOND).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert_eq!(api.probe.futures(), 0);
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 0));
}

// Hole 6: a service that hangs behind a timeout.
#[tokio::test(start_paused = true)]
async fn a_timeout_further_out_counts_if_it_is_told_to() {
    let breaker_layer = simple().on_cancel(OnCancel::FailureAfter(2 * SECOND));
    let breaker = breaker_layer.handle();
    let probe = Api::new(breaker_layer);
    probe.hangs();
    let impatient = TimeoutLayer::new(2 * SECOND - MS);
    let patient = TimeoutLayer::new(2 * SECOND);
    for (timeout, state) in [(impatient, State::Closed), (patient, State::Open)] {
        for _ in 0..3 {
            assert_eq!(breaker.state(), State::Closed);
            let client = ServiceBuilder::new().layer(&timeout).service(probe.client.clone());
            client.oneshot(probe_request(1)).await.unwrap_err();
        }
        assert_eq!(breaker.state(), state);
    }
    assert_eq!(probe.call().await, TRIPPED);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_times_out_further_out_has_failed_if_it_is_told_so() {
    let (api, breaker) = watched(simple().on_cancel(OnCancel::FailureAfter(SECOND)));
    api.recover().await;
    api.hangs();
    let probe = api.begin().await;
    pass(SECOND).await;
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    for panic in [Answer::PanicsInCall, Answer::PanicsInPoll] {
        let (api, breaker) = watched(simple());
        api.does(panic);
        for failures in 0..3 {
            assert_eq!(breaker.snapshot().failures_in_row, failures);
            assert!(api.begin().await.await.unwrap_err().is_panic());
        }
        assert_eq!(breaker.state(), State::Open);
    }
}

// A destructor that makes a call, and drops it, while the thread panics for another reason.
#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_is_not() {
    struct CallsWhenDropped<F: FnMut()>(F);
    impl<F: FnMut()> Drop for CallsWhenDropped<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let (api, breaker) = watched(simple().trip(Trip::consecutive(1)));
    api.hangs();
    let mut client = api.client.clone();
    std::future::poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    let call = CallsWhenDropped(move || drop(client.call(probe_request(1))));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _call = call;
        std::panic::resume_unwind(Box::new("elsewhere"));
    }));
    assert!(panic.is_err());
    assert_eq!(api.probe.calls(), 1);
    assert_eq!(breaker.state(), State::Closed);
}

// Hole 7: the outcome is there with the answer, and there is nothing in between to be dropped at.
#[tokio::test(start_paused = true)]
async fn an_answer_counts_at_once() {
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(Trip::consecutive(1)));
    api.answers(503);
    let mut client = api.client.clone();
    std::future::poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    let mut call = Box::pin(client.call(probe_request(1)));
    let answer = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
    assert!(answer.is_ready());
    assert_eq!(breaker.state(), State::Open);
}
