//! A call that is dropped leaves nothing behind.

use std::time::Duration;

use http::StatusCode;

use super::{
    Subject,
    drive::{Fixture, Verdict, is_unharmed, next_frame, poll_once, ready, respond, within},
};
use crate::probe::{Answer, Pace, ProbePlan, probe_request};

/// More polls than a call takes.
const MOST: u32 = 16;

/// More calls than a layer lets through at once.
const STORM: usize = 100;

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    for plan in [
        // Dropped while the inner service works.
        ProbePlan { pace: Pace::Held, ..ProbePlan::default() },
        // Dropped with the answer under way.
        ProbePlan { pace: Pace::After(3), ..ProbePlan::default() },
        // Dropped with an answer that a layer may not like, and while it waits for a better one.
        ProbePlan {
            pace: Pace::After(1),
            answer: Answer::Status(StatusCode::SERVICE_UNAVAILABLE),
            ..ProbePlan::default()
        },
        ProbePlan { pace: Pace::After(1), answer: Answer::Fails, ..ProbePlan::default() },
    ] {
        for polls in 0..=MOST {
            let finished = drop_future(fixture, plan, polls).await.map_err(|detail| {
                let what = format!("Answer::{:?}, Pace::{:?}", plan.answer, plan.pace);
                format!("a response future is dropped after {polls} polls ({what}): {detail}")
            })?;
            if finished {
                break;
            }
        }
    }
    for frames in 0..=3 {
        let dropped = drop_body(fixture, frames).await;
        dropped.map_err(|detail| {
            format!("a response body is dropped after {frames} frames: {detail}")
        })?;
    }
    let dropped = drop_unused(fixture).await;
    dropped.map_err(|detail| format!("a service is dropped that is ready: {detail}"))?;
    let dropped = drop_many(fixture).await;
    dropped.map_err(|detail| format!("{STORM} response futures are dropped: {detail}"))
}

/// Returns whether the call was done before it was dropped.
async fn drop_future<S: Subject>(
    fixture: &Fixture<'_, S>,
    plan: ProbePlan,
    polls: u32,
) -> Result<bool, String> {
    let (handle, mut service) = fixture.set_up();
    handle.capacity(1);
    handle.set(plan);
    get_ready(&mut service).await?;
    let mut future = service.call(probe_request(handle.next_id()));
    let mut finished = false;
    for _ in 0..polls {
        finished = poll_once(&mut future).is_ready();
        if finished {
            break;
        }
        // Brings a back-off to its end.
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    drop(future);
    is_unharmed(&handle, [service.clone(), service]).await?;
    Ok(finished)
}

async fn drop_body<S: Subject>(fixture: &Fixture<'_, S>, frames: u32) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.capacity(1);
    handle.set(ProbePlan { body_pace: Pace::After(1), ..ProbePlan::default() });
    let response = within(respond(&handle, &mut service)).await;
    let Some(Ok(response)) = response else {
        return Err("the call itself does not succeed".to_owned());
    };
    let mut body = Box::pin(response.into_body());
    for _ in 0..frames {
        // The rule of bodies judges what comes.
        let _ = within(next_frame(&mut body.as_mut())).await;
    }
    // In the midst of a frame.
    let _ = poll_once(&mut Box::pin(next_frame(&mut body.as_mut())));
    drop(body);
    is_unharmed(&handle, [service.clone(), service]).await
}

async fn drop_unused<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.capacity(1);
    let clone = service.clone();
    get_ready(&mut service).await?;
    drop(service);
    is_unharmed(&handle, [clone.clone(), clone]).await
}

async fn drop_many<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { pace: Pace::Held, ..ProbePlan::default() });
    for _ in 0..STORM {
        get_ready(&mut service).await?;
        let mut future = service.call(probe_request(handle.next_id()));
        let _ = poll_once(&mut future);
    }
    is_unharmed(&handle, [service.clone(), service]).await
}

async fn get_ready<S: Subject>(service: &mut S) -> Verdict {
    match within(ready(service)).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(format!("the service is not ready any more: {}", error.into())),
        None => Err("the service never gets ready again".to_owned()),
    }
}
