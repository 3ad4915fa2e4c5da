//! Whoever polled last is woken.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http_body::Body;

use super::{
    Subject,
    drive::{Fixture, Flag, Verdict, converse, ready, respond, settle, within},
};
use crate::probe::{Pace, ProbeHandle, ProbePlan, probe_request};

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    readiness(fixture).await?;
    response(fixture).await?;
    body(fixture).await?;
    all(fixture).await
}

async fn readiness<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    // A layer that is ready on its own waits in the call.
    let mut future = None;
    let poll = poll_fn(|cx| {
        if future.is_none() {
            match service.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    future = Some(service.call(probe_request(handle.next_id())));
                }
                poll => return poll.map(drop),
            }
        }
        match &mut future {
            Some(future) => Pin::new(future).poll(cx).map(drop),
            None => Poll::Pending,
        }
    });
    is_woken(&handle, "readiness", poll).await
}

async fn response<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { pace: Pace::Held, ..ProbePlan::default() });
    if !matches!(within(ready(&mut service)).await, Some(Ok(()))) {
        return Err("is not ready although the inner service is".to_owned());
    }
    let future = service.call(probe_request(handle.next_id()));
    is_woken(&handle, "the response", future).await
}

async fn body<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { body_pace: Pace::Held, ..ProbePlan::default() });
    // A layer may read the body before it answers.
    let mut response = Box::pin(respond(&handle, &mut service));
    let mut body = None;
    let poll = poll_fn(|cx| {
        if body.is_none() {
            match response.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => body = Some(Box::pin(response.into_body())),
                poll => return poll.map(drop),
            }
        }
        match &mut body {
            // What comes is no matter of wakers.
            Some(body) => body.as_mut().poll_frame(cx).map(drop),
            None => Poll::Pending,
        }
    });
    is_woken(&handle, "the response body", poll).await
}

/// A call of which every part takes several polls.
async fn all<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan {
        ready: Pace::After(3),
        pace: Pace::After(3),
        body_pace: Pace::After(3),
        ..ProbePlan::default()
    });
    match within(converse(&handle, &mut service)).await {
        Some(_) => Ok(()),
        None => Err("a call hangs whose inner service wakes it each time".to_owned()),
    }
}

/// Polls for one waker and then for another, lets the probe go on, and sees whether the second one learns of it.
async fn is_woken(handle: &ProbeHandle, what: &str, future: impl Future) -> Verdict {
    let mut future = pin!(future);
    let last = Arc::new(Flag::default());
    for waker in [Waker::noop(), &Waker::from(Arc::clone(&last))] {
        if future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            // Without a wait there is nobody to wake.
            return Ok(());
        }
        settle().await;
    }
    handle.release();
    settle().await;
    match last.is_woken() {
        true => Ok(()),
        false => Err(format!("nobody is woken for {what}")),
    }
}
