use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderName, HeaderValue, Request, Response,
    header::{
        CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, SERVER, VARY,
    },
};
use http_body::Body as HttpBody;
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_core::{SystemClock, WallClock};
use tower::Layer;
use tower_service::Service;

use crate::{
    inner::{Body, Healthy},
    request::cacheable,
    subject::{BARE, Subject},
    subjects::{http_cache, tower_http_cache},
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What all of them hold in numbers, where palisade counts bytes.
const PLACES: usize = 10_000;
const BUDGET: u64 = 32 << 20;

const URI: &str = "http://api.example/v1/items?page=2";

static HEADERS: [(HeaderName, &str); 7] = [
    (CACHE_CONTROL, "max-age=3600"),
    (CONTENT_LANGUAGE, "en"),
    (CONTENT_TYPE, "application/json"),
    (ETAG, "\"5f2a-61c9d1\""),
    (LAST_MODIFIED, "Mon, 06 Jan 2025 10:00:00 GMT"),
    (SERVER, "inventory/4.1"),
    (VARY, "accept-encoding"),
];

/// A request that was answered before with 1 KiB. The bare service answers with little and without
/// headers, so the other figures are all that a hit takes.
pub(in crate::benches) fn hit() -> Vec<Subject> {
    let origin = || Origin::of(KIB);
    let (ours, by_http_cache, by_tower_http_cache) = (origin(), origin(), origin());
    vec![
        little(),
        hits("palisade", private(BUDGET).layer(ours.clone()), &ours),
        hits(
            "http-cache-tower",
            http_cache::layer(PLACES).layer(by_http_cache.clone()),
            &by_http_cache,
        ),
        hits(
            "tower-http-cache",
            tower_http_cache::layer(PLACES as u64).layer(by_tower_http_cache.clone()),
            &by_tower_http_cache,
        ),
    ]
}

/// The same with 16 MiB. http-cache-tower copies a body at each hit, which would take too long here.
pub(in crate::benches) fn large_hit() -> Vec<Subject> {
    let origin = || Origin::of(16 * MIB);
    let (ours, by_tower_http_cache) = (origin(), origin());
    vec![
        little(),
        hits("palisade", private(512 << 20).layer(ours.clone()), &ours),
        hits(
            "tower-http-cache",
            tower_http_cache::layer(PLACES as u64).layer(by_tower_http_cache.clone()),
            &by_tower_http_cache,
        ),
    ]
}

/// A request for what was not asked for before: it is stored in place of something else.
pub(in crate::benches) fn miss() -> Vec<Subject> {
    let origin = Origin::of(KIB);
    vec![
        misses(BARE, origin.clone()),
        misses("palisade", private(BUDGET).layer(origin.clone())),
        misses("http-cache-tower", http_cache::layer(PLACES).layer(origin.clone())),
        misses("tower-http-cache", tower_http_cache::layer(PLACES as u64).layer(origin)),
    ]
}

fn private(budget: u64) -> HttpCacheLayer<MemoryStore> {
    HttpCacheLayer::private(MemoryStore::new(budget))
}

fn little() -> Subject {
    let mut service = Healthy;
    Subject::work(BARE, move || {
        call(BARE, &mut service, cacheable(URI));
    })
}

fn hits<S, B>(name: &'static str, mut service: S, origin: &Origin) -> Subject
where
    S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug> + 'static,
    B: HttpBody<Error: fmt::Debug>,
{
    let (length, calls) = (origin.body.len(), Arc::clone(&origin.calls));
    assert_eq!(call(name, &mut service, cacheable(URI)), length, "{name} cuts it off");
    Subject::work(name, move || {
        assert_eq!(call(name, &mut service, cacheable(URI)), length, "{name} cuts it off");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{name} does not answer by itself");
    })
}

fn misses<S, B>(name: &'static str, mut service: S) -> Subject
where
    S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug> + 'static,
    B: HttpBody<Error: fmt::Debug>,
{
    let mut page = 0_u64;
    Subject::work(name, move || {
        page += 1;
        let request = cacheable(&format!("http://api.example/v1/items?page={page}"));
        assert_eq!(call(name, &mut service, request), KIB, "{name} cuts it off");
    })
}

/// Calls once, and reads the body to its end: how many bytes are there? Nobody may wait.
fn call<S, B>(name: &str, service: &mut S, request: Request<Body>) -> usize
where
    S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug>,
    B: HttpBody<Error: fmt::Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready(), "{name} is not ready at once");
    let future = pin!(service.call(black_box(request)));
    let Poll::Ready(Ok(response)) = future.poll(&mut cx) else {
        panic!("{name} does not answer at once");
    };
    let mut body = pin!(black_box(response).into_body());
    let mut length = 0;
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(None) => return length,
            Poll::Ready(Some(frame)) => {
                let frame = frame.expect("the body is there");
                length += frame.data_ref().map_or(0, Buf::remaining);
            }
            Poll::Pending => panic!("{name} does not have the body at once"),
        }
    }
}

/// Answers at once with a body of some size and eight headers, which may be kept for an hour.
/// Clones count together.
#[derive(Clone, Debug)]
struct Origin {
    body: Bytes,
    date: Arc<str>,
    calls: Arc<AtomicU64>,
}

impl Origin {
    fn of(length: usize) -> Self {
        // As a server says it that answers now.
        let date = Arc::from(httpdate::fmt_http_date(SystemClock.now()));
        Self { body: Bytes::from(vec![b'a'; length]), date, calls: Arc::default() }
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::new(self.body.clone()));
        let headers = response.headers_mut();
        headers.reserve(HEADERS.len() + 1);
        for (name, value) in &HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(DATE, HeaderValue::from_str(&self.date).expect("it is a date"));
        ready(Ok(response))
    }
}
