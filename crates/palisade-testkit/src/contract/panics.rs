//! A panic of the inner service harms no other call.

use std::pin::pin;

use super::{
    Subject,
    drive::{
        Fixture, Panic, Verdict, caught, caught_now, converse, is_unharmed, next_frame, ready,
        within,
    },
};
use crate::probe::{Answer, Pace, Payload, ProbeHandle, ProbePlan, probe_request};

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let call = ProbePlan { answer: Answer::PanicsInCall, ..ProbePlan::default() };
    let poll =
        ProbePlan { answer: Answer::PanicsInPoll, pace: Pace::After(1), ..ProbePlan::default() };
    let body = ProbePlan { payload: Payload::Panics, ..ProbePlan::default() };
    for (place, plan) in [("call", call), ("future", poll), ("response body", body)] {
        for unwinding in [false, true] {
            let verdict = survives(fixture, plan, unwinding).await;
            verdict.map_err(|detail| format!("after a panic in the inner {place}: {detail}"))?;
        }
    }
    Ok(())
}

async fn survives<S: Subject>(
    fixture: &Fixture<'_, S>,
    plan: ProbePlan,
    unwinding: bool,
) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.capacity(1);
    handle.set(plan);
    let earlier = service.clone();
    let provoked = within(async {
        match unwinding {
            // What an `async` block holds is dropped while the thread unwinds.
            true => caught(converse(&handle, &mut service)).await.map(drop),
            false => provoke(&handle, &mut service).await,
        }
    });
    match provoked.await {
        Some(Err(panic)) if !panic.is_scripted() => return Err(format!("the layer {panic}")),
        Some(_) => {}
        None => return Err("the call hangs".to_owned()),
    }
    let later = service.clone();
    drop(service);
    is_unharmed(&handle, [earlier, later]).await
}

/// Makes a call and catches each step by itself, so that what is dropped after a panic is not dropped during one: a
/// second panic would abort the process.
async fn provoke<S: Subject>(handle: &ProbeHandle, service: &mut S) -> Result<(), Panic> {
    let Ok(()) = caught(ready(service)).await? else {
        return Ok(());
    };
    let request = probe_request(handle.next_id());
    let mut future = caught_now(|| service.call(request))?;
    let outcome = caught(&mut future).await;
    caught_now(|| drop(future))?;
    let Ok(response) = outcome? else {
        return Ok(());
    };
    let mut body = pin!(Some(response.into_body()));
    let outcome = loop {
        let Some(mut body) = body.as_mut().as_pin_mut() else {
            break Ok(());
        };
        match caught(next_frame(&mut body)).await {
            Ok(Some(Ok(_))) => {}
            Ok(_) => break Ok(()),
            Err(panic) => break Err(panic),
        }
    };
    caught_now(|| body.set(None))?;
    outcome
}
