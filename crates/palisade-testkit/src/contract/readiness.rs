//! Readiness is respected.

use std::task::{Context, Poll, Waker};

use super::{
    Readiness, Subject,
    drive::{Fixture, Verdict, poll_once, ready, settle, within},
};
use crate::probe::{Pace, ProbePlan, probe_request};

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>, readiness: Readiness) -> Verdict {
    passes_pending(fixture, readiness).await?;
    passes_errors(fixture).await
}

async fn passes_pending<S: Subject>(fixture: &Fixture<'_, S>, readiness: Readiness) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => return Ok(()),
        Poll::Ready(Err(error)) => {
            let error = error.into();
            return Err(format!("fails while the inner service is pending: {error}"));
        }
        Poll::Ready(Ok(())) if readiness == Readiness::Forwarded => {
            return Err("says it is ready while the inner service is pending".to_owned());
        }
        Poll::Ready(Ok(())) => {}
    }
    let mut future = service.call(probe_request(handle.next_id()));
    for _ in 0..3 {
        if poll_once(&mut future).is_ready() {
            return Err("answers while the inner service is pending".to_owned());
        }
        settle().await;
    }
    match handle.calls() {
        0 => Ok(()),
        _ => Err("calls the inner service while that is pending".to_owned()),
    }
}

async fn passes_errors<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { ready_fails: true, ..ProbePlan::default() });
    let outcome = async {
        ready(&mut service).await?;
        // The inner service must not be called after its error, and the probe would tell.
        service.call(probe_request(handle.next_id())).await
    };
    match within(outcome).await {
        Some(Err(_)) => Ok(()),
        Some(Ok(_)) => Err("answers although the inner readiness failed".to_owned()),
        None => Err("hangs although the inner readiness failed".to_owned()),
    }
}
