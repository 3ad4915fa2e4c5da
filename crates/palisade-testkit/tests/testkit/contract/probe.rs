//! The probe itself.

use std::task::{Context, Poll, Waker};

use palisade_testkit::{Offence, Pace, Probe, ProbeHandle, ProbePlan, probe_request};
use tower_service::Service;

use super::faulty::ready;

#[tokio::test]
async fn tells_each_way_to_call_unready() {
    let handle = ProbeHandle::new();
    let mut probe: Probe = handle.probe();
    ready(&mut probe).await.unwrap();
    let mut clone = probe.clone();
    drop(clone.call(probe_request(1)));
    assert_eq!(handle.offences(), [Offence::CalledUnready]);

    drop(probe.call(probe_request(2)));
    assert_eq!(handle.offences(), [Offence::CalledUnready]);
    drop(probe.call(probe_request(3)));
    let both = [Offence::CalledUnready, Offence::CalledTwice];
    assert_eq!(handle.offences(), both);
    assert_eq!(handle.calls(), 3);
}

#[tokio::test]
async fn gives_a_permit_back_with_the_future() {
    let handle = ProbeHandle::new();
    handle.capacity(1);
    let mut one: Probe = handle.probe();
    let mut other = one.clone();
    let cx = &mut Context::from_waker(Waker::noop());

    ready(&mut one).await.unwrap();
    assert!(other.poll_ready(cx).is_pending());
    let future = one.call(probe_request(1));
    assert!(other.poll_ready(cx).is_pending());
    drop(future);
    assert!(other.poll_ready(cx).is_ready());
    drop(other);
    assert!(one.poll_ready(cx).is_ready());
}

#[tokio::test]
async fn counts_what_is_alive() {
    let handle = ProbeHandle::new();
    let mut probe: Probe = handle.probe();
    ready(&mut probe).await.unwrap();
    let future = probe.call(probe_request(1));
    assert_eq!((handle.instances(), handle.futures(), handle.bodies()), (1, 1, 0));

    let response = future.await.unwrap();
    assert_eq!((handle.futures(), handle.bodies()), (0, 1));
    drop((response, probe));
    assert_eq!((handle.instances(), handle.bodies()), (0, 0));
}

#[tokio::test]
async fn holds_until_it_is_released() {
    let handle = ProbeHandle::new();
    handle.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    let mut probe: Probe = handle.probe();
    let mut waiting = Box::pin(ready(&mut probe));
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(matches!(waiting.as_mut().poll(cx), Poll::Pending));
    }
    handle.release();
    waiting.await.unwrap();
}

#[tokio::test]
async fn keeps_requests_once_it_is_told() {
    let handle = ProbeHandle::new();
    let mut probe: Probe = handle.probe();
    for number in 1..=3 {
        ready(&mut probe).await.unwrap();
        drop(probe.call(probe_request(number)));
        if number == 1 {
            assert!(handle.requests().is_empty());
            handle.record();
        }
    }
    let requests = handle.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.uri().path()).collect();
    assert_eq!(paths, ["/2", "/3"]);
}
