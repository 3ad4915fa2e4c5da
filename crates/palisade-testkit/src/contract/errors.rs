//! The inner error arrives.

use std::error::Error;

use super::{
    Subject,
    drive::{Fixture, Verdict, converse, within},
};
use crate::probe::{Answer, Payload, ProbeError, ProbePlan};

pub(super) async fn of_call<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let readiness = ProbePlan { ready_fails: true, ..ProbePlan::default() };
    arrives(fixture, readiness, ProbeError::Readiness).await?;
    let answer = ProbePlan { answer: Answer::Fails, ..ProbePlan::default() };
    arrives(fixture, answer, ProbeError::Answer).await
}

pub(super) async fn of_body<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let body = ProbePlan { payload: Payload::Fails, ..ProbePlan::default() };
    arrives(fixture, body, ProbeError::Body).await
}

async fn arrives<S: Subject>(
    fixture: &Fixture<'_, S>,
    plan: ProbePlan,
    error: ProbeError,
) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(plan);
    match within(converse(&handle, &mut service)).await {
        Some(Err(found)) if carries(&*found, error) => Ok(()),
        Some(Err(found)) => Err(format!("ProbeError::{error:?} is lost, {found:?} arrives")),
        Some(Ok(_)) => Err(format!("ProbeError::{error:?} is swallowed")),
        None => Err(format!("ProbeError::{error:?} leaves the call hanging")),
    }
}

fn carries(found: &(dyn Error + 'static), error: ProbeError) -> bool {
    let mut cause = Some(found);
    while let Some(found) = cause {
        if found.downcast_ref() == Some(&error) {
            return true;
        }
        cause = found.source();
    }
    false
}
