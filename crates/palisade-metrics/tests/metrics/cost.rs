//! What it costs to count: memory for a series, room in a future.

use std::{future::pending, io, pin::pin, rc::Rc, thread, time::Duration};

use http::Response;
use http_body_util::BodyExt;
use palisade_core::Typed;
use palisade_metrics::Registry;
use palisade_testkit::LocalProbe;
use tokio::{runtime::Builder, time::advance};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Call, Frames, answers_with, data, request};

/// What stays in memory after this many requests of 1 to 128 milliseconds.
fn keeps(metrics: &Registry, requests: u64) -> i64 {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let answer = || Ok::<_, io::Error>(Response::new(Frames::new([data("hello")])));
    let client = metrics.attempts().layer(answers_with(answer));
    let work = async {
        for number in 0..requests {
            let uri = "http://api.example/";
            let response = client.clone().oneshot(request("GET", uri)).await.unwrap();
            advance(Duration::from_micros(1000 + number * 7919 % 127_000)).await;
            response.into_body().collect().await.unwrap();
        }
    };
    let mut work = pin!(work);
    allocation_counter::measure(|| runtime.block_on(work.as_mut())).bytes_current
}

#[test]
fn a_busy_series_of_two_threads_takes_at_most_sixteen_kib() {
    let metrics = Registry::new();
    let on_a_thread = || {
        let metrics = metrics.clone();
        let twice = move || [keeps(&metrics, 2000), keeps(&metrics, 2000)];
        let [kept, later] = thread::spawn(twice).join().unwrap();
        assert_eq!(later, 0, "all that comes later finds its place");
        kept
    };
    let first = on_a_thread();
    // Threads of other tests take their turn as well, so the next one may count beside the first.
    let second = (0..64).map(|_| on_a_thread()).find(|kept| *kept != 0);
    let kept = first + second.unwrap_or_default();
    assert!(0 < first && kept <= 16 * 1024, "{kept} bytes");
}

#[test]
fn a_future_is_little_larger_than_that_of_its_service() {
    fn size<S: Service<Call>>(_: &S) -> usize {
        size_of::<S::Future>()
    }
    let inner = service_fn(|_: Call| pending::<io::Result<Response<Frames>>>());
    let outer = Registry::new().attempts::<Typed>().layer(inner);
    let (inner, outer) = (size(&inner), size(&outer));
    assert!(outer <= inner + 72, "{inner} and {outer}");
}

/// A service that is neither `Send` nor `Sync`, whose future and body are not `Unpin` either.
#[test]
fn asks_nothing_of_the_service_that_it_does_not_need() {
    fn is_service<S: Service<R, Response = Response<B>>, R, B: http_body::Body>(service: S) {
        drop(service);
    }
    let metrics = Registry::new();
    let local = Rc::new(());
    let inner = service_fn(move |_: Call| {
        let local = Rc::clone(&local);
        async move {
            pending::<()>().await;
            drop(local);
            io::Result::Ok(Response::new(Frames::new([])))
        }
    });
    is_service(metrics.calls().layer(metrics.attempts().layer(inner)));
    let probe = palisade_testkit::ProbeHandle::new();
    let local: LocalProbe = probe.probe();
    is_service::<_, Call, _>(metrics.calls().layer(local));
}
