//! A call takes the instance that was polled ready; the probes themselves report when it does not.

use http::StatusCode;

use super::{
    Subject,
    drive::{Fixture, Verdict, converse, ready, within},
};
use crate::probe::{Answer, ProbePlan, probe_request};

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    polls_each_clone(fixture).await;
    uses_its_readiness(fixture).await
}

async fn polls_each_clone<S: Subject>(fixture: &Fixture<'_, S>) {
    let (handle, mut service) = fixture.set_up();
    let _ = within(async {
        ready(&mut service).await?;
        ready(&mut service).await?;
        let mut clone = service.clone();
        service.call(probe_request(handle.next_id())).await?;
        ready(&mut clone).await?;
        clone.call(probe_request(handle.next_id())).await?;
        ready(&mut service).await?;
        service.call(probe_request(handle.next_id())).await
    })
    .await;
}

/// Where only one instance can be ready or at work at a time, one that is polled and not called stands in the way of
/// all others, and so does the future of an attempt that is over.
async fn uses_its_readiness<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    for answer in [Answer::Responds, Answer::Status(StatusCode::SERVICE_UNAVAILABLE), Answer::Fails]
    {
        let (handle, mut service) = fixture.set_up();
        handle.capacity(1);
        handle.set(ProbePlan { answer, ..ProbePlan::default() });
        for _ in 0..3 {
            if within(converse(&handle, &mut service)).await.is_none() {
                return Err(format!(
                    "Answer::{answer:?}: one inner instance waits for what another one holds"
                ));
            }
        }
    }
    Ok(())
}
