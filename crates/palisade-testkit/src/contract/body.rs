//! Data and trailers arrive, and the body does not lie.

use std::pin::pin;

use bytes::Buf;
use http::StatusCode;
use http_body::Body;

use super::{
    Subject,
    drive::{Fixture, Verdict, next_frame, respond, within},
};
use crate::probe::{CHUNKS, Pace, Payload, ProbePlan, TRAILER};

pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    for payload in [Payload::Whole, Payload::Unsized, Payload::Empty] {
        for body_pace in [Pace::AtOnce, Pace::After(1)] {
            let (handle, mut service) = fixture.set_up();
            handle.set(ProbePlan { payload, body_pace, ..ProbePlan::default() });
            let walk = async {
                let response = respond(&handle, &mut service).await;
                let response = response.map_err(|error| format!("the call fails: {error}"))?;
                match response.status() {
                    StatusCode::OK => walk(response.into_body(), payload).await,
                    status => Err(format!("the status is {status}")),
                }
            };
            let verdict = within(walk).await;
            let verdict = verdict.unwrap_or_else(|| Err("hangs".to_owned()));
            verdict.map_err(|detail| format!("Payload::{payload:?}: {detail}"))?;
        }
    }
    Ok(())
}

/// Reads the body and looks at its size and end before each frame.
async fn walk<B>(body: B, payload: Payload) -> Verdict
where
    B: Body<Error: Into<palisade_core::BoxError>>,
{
    let expected = match payload {
        Payload::Empty => String::new(),
        _ => CHUNKS.concat(),
    };
    let mut data = Vec::new();
    let mut trailers = None;
    let mut body = pin!(body);
    loop {
        let left = expected.len().saturating_sub(data.len()) as u64;
        let hint = body.size_hint();
        if left < hint.lower() || hint.upper().is_some_and(|upper| upper < left) {
            return Err(format!("the size hint is {hint:?} while {left} bytes are left"));
        }
        if payload != Payload::Unsized && hint.exact().is_none() {
            return Err(format!("the exact size is lost: {hint:?}"));
        }
        let at_end = left == 0 && (payload == Payload::Empty || trailers.is_some());
        match body.is_end_stream() {
            true if !at_end => {
                return Err(format!("says it ends, while {left} bytes and trailers are left"));
            }
            false if at_end => {
                return Err("does not say it ends, although the inner body does".to_owned());
            }
            _ => {}
        }
        let Some(frame) = next_frame(&mut body).await else {
            break;
        };
        let frame = frame.map_err(|error| format!("the body fails: {error}"))?;
        match frame.into_data() {
            Ok(mut chunk) => data.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining())),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if data != expected.as_bytes() {
        let data = String::from_utf8_lossy(&data);
        return Err(format!("the data is {data:?} instead of {expected:?}"));
    }
    let (name, value) = TRAILER;
    let arrived = trailers.as_ref().and_then(|trailers| trailers.get(name));
    match payload == Payload::Empty || arrived.is_some_and(|arrived| arrived == value) {
        true => Ok(()),
        false => Err(format!("the trailers are {trailers:?}")),
    }
}
