//! A service serves for long, however its calls end.

use std::time::Duration;

use http::StatusCode;
use palisade_core::BoxError;

use super::{
    Subject,
    drive::{
        Fixture, PATIENCE, Verdict, caught, converse, is_unharmed, poll_once, ready, respond,
        within,
    },
};
use crate::probe::{Answer, Pace, Payload, ProbeHandle, ProbePlan, probe_request};

/// More than a layer has of anything.
const CALLS: usize = 1000;

/// Between two calls, for what fills up again with time.
const REST: Duration = Duration::from_secs(60);

/// How a call ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Comes(Answer, Payload),
    DroppedReady,
    DroppedUnpolled,
    DroppedPolled,
    DroppedBody,
}

const ENDS: [End; 11] = [
    End::Comes(Answer::Responds, Payload::Whole),
    End::Comes(Answer::Status(StatusCode::SERVICE_UNAVAILABLE), Payload::Whole),
    End::Comes(Answer::Fails, Payload::Whole),
    End::Comes(Answer::Responds, Payload::Fails),
    End::Comes(Answer::PanicsInCall, Payload::Whole),
    End::Comes(Answer::PanicsInPoll, Payload::Whole),
    End::Comes(Answer::Responds, Payload::Panics),
    End::DroppedReady,
    End::DroppedUnpolled,
    End::DroppedPolled,
    End::DroppedBody,
];

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    for (number, end) in (1..=CALLS).zip(ENDS.into_iter().cycle()) {
        handle.set(end.plan());
        match within(caught(end.reach(&handle, &mut service))).await {
            // A layer may turn a call away, after so many failures.
            Some(Ok(_)) => {}
            Some(Err(panic)) if panic.is_scripted() => {}
            Some(Err(panic)) => return Err(format!("call {number} ({end:?}) {panic}")),
            None => return Err(format!("call {number} ({end:?}) hangs")),
        }
        tokio::time::sleep(REST).await;
    }
    tokio::time::sleep(PATIENCE).await;
    let verdict = is_unharmed(&handle, [service.clone(), service]).await;
    verdict.map_err(|detail| format!("after {CALLS} calls, {detail}"))
}

impl End {
    fn plan(self) -> ProbePlan {
        let plan = ProbePlan::default();
        match self {
            Self::Comes(answer, payload) => ProbePlan { answer, payload, ..plan },
            Self::DroppedPolled => ProbePlan { pace: Pace::Held, ..plan },
            Self::DroppedReady | Self::DroppedUnpolled | Self::DroppedBody => plan,
        }
    }

    async fn reach<S: Subject>(
        self,
        handle: &ProbeHandle,
        service: &mut S,
    ) -> Result<(), BoxError> {
        match self {
            Self::Comes(..) => converse(handle, service).await.map(drop),
            Self::DroppedReady => ready(&mut service.clone()).await.map_err(Into::into),
            Self::DroppedUnpolled | Self::DroppedPolled => {
                ready(service).await.map_err(Into::into)?;
                let mut future = service.call(probe_request(handle.next_id()));
                if matches!(self, Self::DroppedPolled) {
                    let _ = poll_once(&mut future);
                }
                Ok(())
            }
            Self::DroppedBody => respond(handle, service).await.map(drop),
        }
    }
}
