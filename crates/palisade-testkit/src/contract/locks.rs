//! No lock is held while the inner service is at work.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use http::StatusCode;
use http_body::Body;
use tokio::runtime::Handle;

use super::{
    Subject,
    drive::{Fixture, Verdict, converse, within},
};
use crate::probe::{Answer, Pace, ProbePlan, ProbeRequest, probe_request};

/// How long a visit may take in real time. In slices: while the machine is suspended, no more than one of them ends.
const SLICES: u32 = 40;
const SLICE: Duration = Duration::from_millis(50);

/// More polls than a step of a visit takes.
const MOST: u32 = 16;

/// While the inner service is at work for one thread, another one makes a call.
pub(super) async fn check<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    let unavailable = Answer::Status(StatusCode::SERVICE_UNAVAILABLE);
    for answer in [Answer::Responds, unavailable, Answer::Fails] {
        let (handle, mut service) = fixture.set_up();
        handle.set(ProbePlan {
            answer,
            ready: Pace::After(1),
            pace: Pace::After(1),
            body_pace: Pace::After(1),
            ..ProbePlan::default()
        });
        let shared = Arc::new(service.clone());
        let requests = handle.clone();
        let (report, reports) = mpsc::channel();
        let mut report = Some(report);
        handle.admit(move |place| {
            let Some(sender) = &report else { return };
            let request = probe_request(requests.next_id());
            if let Err(detail) = visit(&shared, request) {
                // Nobody listens once the check has ended.
                let _ = sender.send(format!("during the inner {place}, {detail}"));
                report = None;
            }
        });
        // What it comes to is no matter of locks.
        let _ = within(converse(&handle, &mut service)).await;
        handle.dismiss();
        if let Ok(detail) = reports.try_recv() {
            return Err(detail);
        }
    }
    Ok(())
}

/// Waits for another thread to make a call.
///
/// On this thread, a lock that is held would hang the test for ever; the other thread gets it in the end.
fn visit<S: Subject>(service: &Arc<S>, request: ProbeRequest) -> Verdict {
    let (progress, steps) = mpsc::channel();
    let service = Arc::clone(service);
    let runtime = Handle::current();
    thread::spawn(move || {
        // Nobody waits any more for one that was too late.
        let _ = progress.send(());
        let _context = runtime.enter();
        // A clone may lock, too.
        call(S::clone(&service), request);
        let _ = progress.send(());
    });
    // Time runs once the thread does, however busy the machine is.
    let started = steps.recv();
    started.map_err(|_| "no thread can be started".to_owned())?;
    for _ in 0..SLICES {
        match steps.recv_timeout(SLICE) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err("a call on another thread panics".to_owned());
            }
        }
    }
    Err("a call on another thread is blocked".to_owned())
}

/// Makes a call as far as it gets without waiting.
fn call<S: Subject>(mut service: S, request: ProbeRequest) {
    let Some(Ok(())) = insist(|cx| service.poll_ready(cx)) else {
        return;
    };
    let mut future = service.call(request);
    let Some(Ok(response)) = insist(|cx| Pin::new(&mut future).poll(cx)) else {
        return;
    };
    let mut body = pin!(response.into_body());
    while let Some(Some(Ok(_))) = insist(|cx| body.as_mut().poll_frame(cx)) {}
}

fn insist<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let cx = &mut Context::from_waker(Waker::noop());
    (0..MOST).find_map(|_| match poll(cx) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}
