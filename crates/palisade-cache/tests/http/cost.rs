use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::Body;
use http_body_util::BodyExt;
use palisade_cache::{CacheMode, HttpCacheLayer, MemoryStore};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Ask, Origin, Step, ask, clock, reply};

const FIELDS: &[(&str, &str)] = &[
    ("cache-control", "max-age=3600"),
    ("content-type", "application/json"),
    ("etag", "\"0123456789\""),
    ("vary", "accept-encoding"),
    ("x-request-id", "4f3c8f0e-6f0c-4a1b-9d55-2f1d6a1f1c11"),
    ("server", "origin"),
    ("x-frame-options", "deny"),
];

#[tokio::test(start_paused = true)]
async fn a_hit_costs_the_same_whatever_its_size() {
    let layer = HttpCacheLayer::private(MemoryStore::new(256 << 20).max_body(16 << 20));
    for size in [0, 1 << 10, 16 << 20] {
        for age in [0, 7, 1234] {
            let (clock, uri) = (clock(), format!("/{size}/{age}"));
            let body = [Step::Chunk(Bytes::from(vec![b'x'; size]))];
            let origin = Origin::of([reply(200, FIELDS, "").body(body)]);
            let mut service = layer.clone().clock(clock).layer(origin);
            let response = service.clone().oneshot(ask("GET", &uri, &[])).await.unwrap();
            response.into_body().collect().await.unwrap();
            tokio::time::advance(std::time::Duration::from_secs(age)).await;

            let request = ask("GET", &uri, &[("accept", "*/*"), ("user-agent", "me")]);
            let mut read = None;
            let info = allocation_counter::measure(|| {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(Service::poll_ready(&mut service, cx).is_ready());
                let Poll::Ready(response) = pin!(service.call(request)).poll(cx) else {
                    panic!("a hit is there at the first poll");
                };
                let mut body = pin!(response.unwrap().into_body());
                if let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(cx) {
                    read = Some(frame.unwrap().into_data().unwrap().len());
                }
                assert!(body.is_end_stream());
            });
            assert_eq!(read, (size != 0).then_some(size));
            assert!(info.count_total <= 3, "{} allocations of {size} at {age}", info.count_total);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_is_little_more_than_the_inner_one() {
    fn is_send<T: Send>(future: &T) -> usize {
        size_of_val(future)
    }
    // Neither `Unpin` nor small.
    let origin = tower::service_fn(|_: Ask| async {
        let large = [0_u8; 4096];
        tokio::task::yield_now().await;
        assert!(large.iter().all(|byte| *byte == 0));
        Ok::<_, std::convert::Infallible>(
            http::Response::new(http_body_util::Empty::<Bytes>::new()),
        )
    });
    let mut bare = origin;
    let mut service = HttpCacheLayer::private(MemoryStore::new(1 << 20)).layer(origin);
    for method in ["GET", "OPTIONS"] {
        let inner = is_send(&bare.call(ask(method, "/", &[])));
        let future = service.call(ask(method, "/", &[]));
        assert!(is_send(&future) <= inner + 64, "{} of {inner}", is_send(&future));
        assert_eq!(future.await.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_costs_nothing() {
    let origin = Origin::of([reply(200, FIELDS, "x")]);
    let service = HttpCacheLayer::private(MemoryStore::new(1 << 20)).layer(origin.clone());
    for (method, mode, fields, most) in [
        ("GET", CacheMode::NoStore, &[][..], 0),
        ("HEAD", CacheMode::NoStore, &[], 0),
        ("GET", CacheMode::Default, &[("cache-control", "no-store")], 0),
        ("GET", CacheMode::Default, &[("upgrade", "websocket")], 0),
        ("OPTIONS", CacheMode::Default, &[], 0),
        // What is kept to find out what it has made invalid, and what it does.
        ("PUT", CacheMode::Default, &[], 3),
        ("POST", CacheMode::NoStore, &[], 3),
    ] {
        let request = || {
            let mut request = ask(method, "http://api.example/x", fields);
            request.headers_mut().insert("accept", HeaderValue::from_static("*/*"));
            request.extensions_mut().insert(mode);
            request
        };
        // The least of several: now and then the list of the origin grows.
        let bare = (0..8).map(|_| allocations(origin.clone(), request())).min();
        let passed = (0..8).map(|_| allocations(service.clone(), request())).min();
        let ours = passed.unwrap() - bare.unwrap();
        assert_eq!(ours, most, "allocations of ours for {method} {mode:?} {fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_miss_costs_little() {
    // Sorted: now and then a table grows, or the list of the origin.
    fn several<S>(service: &S) -> Vec<u64>
    where
        S: Service<Ask, Response: IntoBody> + Clone,
    {
        let uris = (0..32).map(|at| format!("/{at}"));
        let mut all: Vec<_> = uris.map(|uri| measure(service.clone(), &uri)).collect();
        all.sort_unstable();
        all
    }

    let origin = Origin::of([reply(200, &[("cache-control", "no-store")], "x")]);
    let service = HttpCacheLayer::private(MemoryStore::new(1 << 20)).layer(origin.clone());
    let bare = several(&origin)[0];
    let unstored = several(&service)[0] - bare;
    assert!(unstored <= 6, "{unstored} allocations of ours");
    // By now it is known that none of it is stored.
    assert_eq!(several(&service)[16], bare);

    let origin = Origin::of([reply(200, FIELDS, "x")]);
    let service = HttpCacheLayer::private(MemoryStore::new(1 << 20)).layer(origin.clone());
    let stored = several(&service)[0] - several(&origin)[0];
    assert!(stored <= 21, "{stored} allocations of ours");
}

fn measure<S>(service: S, uri: &str) -> u64
where
    S: Service<Ask, Response: IntoBody>,
{
    allocations(service, ask("GET", uri, &[("accept", "*/*"), ("accept-encoding", "gzip")]))
}

fn allocations<S>(mut service: S, request: Ask) -> u64
where
    S: Service<Ask, Response: IntoBody>,
{
    let info = allocation_counter::measure(|| {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(service.poll_ready(cx).is_ready());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(cx) else {
            panic!("it is there at the first poll");
        };
        let mut body = pin!(response.body());
        while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(cx) {}
    });
    info.count_total
}

trait IntoBody {
    type Body: Body;
    fn body(self) -> Self::Body;
}

impl<B: Body> IntoBody for http::Response<B> {
    type Body = B;
    fn body(self) -> B {
        self.into_body()
    }
}
