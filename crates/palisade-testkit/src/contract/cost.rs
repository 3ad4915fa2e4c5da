//! What a call that succeeds at once costs.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use super::{
    Subject,
    drive::{Fixture, Verdict, exchange, settle, within},
    sharing::measured,
};
use crate::probe::probe_request;

pub(super) async fn allocations<S: Subject>(fixture: &Fixture<'_, S>, most: u64) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    // The first call may make what lasts: an entry for the host, a random number generator.
    for warm in [false, true, true] {
        settle().await;
        let request = probe_request(handle.next_id());
        let call = counted(exchange(&mut service, request));
        let (outcome, allocations) = within(call).await.ok_or("the call hangs")?;
        outcome.map_err(|error| format!("the call fails: {error}"))?;
        if warm && most < allocations {
            return Err(format!("{allocations} instead of {most}"));
        }
    }
    Ok(())
}

pub(super) fn future_size<S: Subject>(most: usize) -> Verdict {
    let size = size_of::<S::Future>();
    match size <= most {
        true => Ok(()),
        false => Err(format!("{size} bytes instead of {most}")),
    }
}

/// Counts the allocations of each poll, but not those of other tasks in between.
async fn counted<F: Future>(future: F) -> (F::Output, u64) {
    let mut future = pin!(future);
    let mut total = 0;
    let output = poll_fn(|cx| {
        let (poll, allocations) = measured(|| future.as_mut().poll(cx));
        total += allocations;
        poll
    })
    .await;
    (output, total)
}
