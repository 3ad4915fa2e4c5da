//! Calls at the same time get their own answers.

use tokio::task::JoinSet;

use super::{
    Subject,
    drive::{Fixture, Verdict, converse, within},
};
use crate::probe::{Pace, ProbePlan};

const CALLS: usize = 32;

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, service) = fixture.set_up();
    handle.capacity(5);
    handle.set(ProbePlan {
        ready: Pace::After(1),
        pace: Pace::Staggered,
        body_pace: Pace::After(1),
        ..ProbePlan::default()
    });
    // A task each, so that only a waker of its own gets a call any further.
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let handle = handle.clone();
        let mut service = service.clone();
        calls.spawn(async move {
            let answer = converse(&handle, &mut service).await;
            answer.map(drop).map_err(|error| error.to_string())
        });
    }
    let all = async {
        while let Some(call) = calls.join_next().await {
            call.map_err(|error| format!("a call ends early: {error}"))??;
        }
        Ok(())
    };
    let verdict = within(all).await;
    verdict.unwrap_or_else(|| Err(format!("of {CALLS} calls, {} hang", calls.len())))
}
