//! Attacks on what earlier attacks had mended.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use palisade_cache::{
    CacheKey, CacheMode, CachePartition, CacheStatus, Collapse, HttpCacheLayer, InMemory,
    MemoryStore, Peek, Route, Store, Variant, background_fn,
};
use palisade_core::Endpoint;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Fields, Origin, ask, client, clock, pass, private, reply};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Sends a request with a body to a cache that keys it, whose origin counts its calls; gets the
/// status of the cache, that of the response, and its body.
macro_rules! keyed {
    ($service:expr, $method:expr, $uri:expr, $fields:expr) => {{
        let fields: Fields<'_> = $fields;
        let mut request = Request::builder().method($method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let uri = format!("http://a.example{}", $uri);
        let request = request.uri(uri).body(Full::new(Bytes::from_static(b"q"))).unwrap();
        let got = $service.clone().oneshot(request).await.unwrap();
        let (status, cache) = (got.status().as_u16(), got.body().cache_status());
        let body = got.into_body().collect().await.unwrap().to_bytes();
        (cache, status, String::from_utf8(body.to_vec()).unwrap())
    }};
}

/// An origin of requests with bodies: it answers with the number of the call, or with 412 to
/// `If-Match`.
macro_rules! numbered {
    ($fields:expr) => {{
        let calls = Arc::new(AtomicUsize::new(0));
        service_fn(move |request: Request<Full<Bytes>>| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let fails = request.headers().contains_key("if-match");
            let mut response = Response::builder().status(if fails { 412 } else { 200 });
            for (name, value) in $fields {
                response = response.header(name, value);
            }
            let response = response.body(Full::new(Bytes::from(call.to_string()))).unwrap();
            async move { Ok::<_, Infallible>(response) }
        })
    }};
}

#[tokio::test(start_paused = true)]
async fn what_one_got_for_itself_does_not_hide_what_it_got_for_all_later() {
    for (mode, directive) in [(CacheMode::Reload, ""), (CacheMode::Default, "no-cache")] {
        let origin = Origin::of([
            reply(200, &[FRESH], "old"),
            reply(200, &[("cache-control", "public, max-age=60")], "new"),
        ]);
        let client = client(&private(), &origin);
        let alice = ("authorization", "alice");
        client.get("/x", &[alice]).await;
        let mut again = ask("GET", "/x", &[alice, ("cache-control", directive)]);
        again.extensions_mut().insert(mode);
        assert_eq!(client.send(again).await.text(), "new");
        let got = client.get("/x", &[alice]).await;
        assert_eq!((got.cache, got.text()), (CacheStatus::Hit, "new"));
        assert_eq!(client.get("/x", &[("authorization", "bob")]).await.cache, CacheStatus::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_variant_of_a_query_that_is_invalid_takes_no_others_along() {
    let origin = numbered!([FRESH, ("vary", "foo")]);
    let service = private().bodies(InMemory::new(100)).layer(origin);
    let [one, two] = [("foo", "1"), ("foo", "2")];
    keyed!(service, "QUERY", "/x", &[one]);
    keyed!(service, "QUERY", "/x", &[two]);
    keyed!(service, "PUT", "/x", &[]);
    assert_eq!(keyed!(service, "QUERY", "/x", &[one]).0, CacheStatus::Miss);
    // The other one is invalid, but this one is new.
    assert_eq!(keyed!(service, "QUERY", "/x", &[one]).0, CacheStatus::Hit);
    assert_eq!(keyed!(service, "QUERY", "/x", &[two]).0, CacheStatus::Miss);
    for variant in [one, two] {
        assert_eq!(keyed!(service, "QUERY", "/x", &[variant]).0, CacheStatus::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_takes_no_answers_to_other_queries_along() {
    let layer = private().bodies(InMemory::new(100));
    let service = layer.layer(numbered!([FRESH]));
    keyed!(service, "QUERY", "/x", &[]);
    keyed!(service, "QUERY", "/y", &[]);
    layer.store().remove(&"http://a.example/y".parse().unwrap());
    assert_eq!(keyed!(service, "QUERY", "/x", &[]).0, CacheStatus::Hit);
    assert_eq!(keyed!(service, "QUERY", "/y", &[]).0, CacheStatus::Miss);
    layer.store().clear();
    assert_eq!(keyed!(service, "QUERY", "/x", &[]).0, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn what_only_the_origin_can_answer_is_not_answered_by_a_body_that_is_known() {
    for method in ["QUERY", "POST"] {
        let layer = private().bodies(InMemory::new(100));
        let service = layer.layer(numbered!([FRESH]));
        // It is not stored for others either.
        for status in [412, 412] {
            let got = keyed!(service, method, "/x", &[("if-match", "\"a\"")]);
            assert_eq!((got.0, got.1), (CacheStatus::Bypass, status), "{method}");
        }
        assert_eq!(keyed!(service, method, "/x", &[]).1, 200);
        assert_eq!(keyed!(service, method, "/x", &[]).0, CacheStatus::Hit);
        let got = keyed!(service, method, "/x", &[("if-match", "\"a\"")]);
        assert_eq!((got.0, got.1), (CacheStatus::Bypass, 412), "{method}");
        let got = keyed!(service, method, "/x", &[("connection", "upgrade"), ("upgrade", "x")]);
        assert_eq!(got.0, CacheStatus::Bypass, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_whole_is_not_told_that_the_rest_is_out_of_range() {
    let origin = Origin::new(|request| match request.headers().get("range") {
        Some(range) if range == "bytes=0-4" => {
            let range = ("content-range", "bytes 0-4/10");
            reply(206, &[FRESH, ("etag", "\"a\""), range], "01234")
        }
        // It has become shorter, and nobody looks at `If-Range`.
        Some(_) => reply(416, &[("content-range", "bytes */3")], ""),
        None => reply(200, &[FRESH, ("etag", "\"b\"")], "abc"),
    });
    let client = client(&private(), &origin);
    client.get("/x", &[("range", "bytes=0-4")]).await;
    assert_ne!(client.get("/x", &[]).await.status, 416);
    let got = client.get("/x", &[]).await;
    assert_eq!((got.status.as_u16(), got.text()), (200, "abc"));
}

#[tokio::test(start_paused = true)]
async fn a_304_without_a_tag_confirms_the_one_of_several_variants_that_was_asked_for() {
    let origin = Origin::new(|request| {
        let kind = request.headers()["foo"].to_str().unwrap();
        let tag = format!("\"{kind}\"");
        // It forgets the tag.
        let known = request.headers().get("if-none-match");
        match known.is_some_and(|known| known.to_str().unwrap().contains(&tag)) {
            true => reply(304, &[("cache-control", "max-age=5"), ("vary", "foo")], ""),
            false => {
                let fields = [("cache-control", "max-age=5"), ("vary", "foo"), ("etag", &*tag)];
                reply(200, &fields, kind)
            }
        }
    });
    let client = client(&private(), &origin);
    for kind in ["1", "2"] {
        client.get("/x", &[("foo", kind)]).await;
    }
    for round in 0..3 {
        pass(10).await;
        for kind in ["1", "2"] {
            let got = client.get("/x", &[("foo", kind)]).await;
            assert_eq!((got.cache, got.text()), (CacheStatus::Revalidated, kind), "{round}");
            assert_eq!(client.get("/x", &[("foo", kind)]).await.cache, CacheStatus::Hit);
        }
    }
}

static READ: Endpoint = Endpoint::new(Method::GET, "/items");
static WRITE: Endpoint = Endpoint::new(Method::PUT, "/items");

#[tokio::test(start_paused = true)]
async fn a_write_to_an_endpoint_finds_what_its_route_has_stored() {
    let layer = private().route(Route::endpoint(&READ).only_query(["id"]));
    let client = client(&layer, &Origin::of([reply(200, &[FRESH], "x")]));
    for (endpoint, expected) in [
        (&READ, CacheStatus::Miss),
        (&READ, CacheStatus::Hit),
        (&WRITE, CacheStatus::Bypass),
        (&READ, CacheStatus::Miss),
    ] {
        let mut request = ask(endpoint.method().as_str(), "/items?id=1&utm=2", &[]);
        endpoint.put_into(request.extensions_mut());
        assert_eq!(client.send(request).await.cache, expected, "{endpoint:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_two_hosts_is_passed_on() {
    let client = client(&private(), &Origin::of([reply(200, &[FRESH], "x")]));
    for uri in ["/x", "http://a.example/x"] {
        let mut request = ask("GET", "/", &[("host", "a.example"), ("host", "b.example")]);
        *request.uri_mut() = uri.parse().unwrap();
        assert_eq!(client.send(request).await.cache, CacheStatus::Bypass, "{uri}");
    }
}

/// The one variant that is stored for a URI.
fn variant_of(store: &MemoryStore, key: &CacheKey) -> Option<Variant> {
    match store.peek(key.borrowed()) {
        Peek::Found(entry) => Some(entry.variants()[0].clone()),
        _ => None,
    }
}

#[test]
fn what_is_cleared_is_not_brought_back_by_a_revalidation() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    let layer = private();
    let uri = "http://a.example/x".parse().unwrap();
    let key = CacheKey::new(CachePartition::common(), uri);
    let store = layer.store();
    for _ in 0..200 {
        let stale = {
            let origin = Origin::of([reply(200, &[FRESH], "x")]);
            runtime.block_on(client(&layer, &origin).get("/x", &[]));
            variant_of(store, &key).unwrap()
        };
        let go = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !go.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                let mut stale = stale.clone();
                for _ in 0..50 {
                    // Asked for before it was cleared.
                    store.freshen(&key, &stale, stale.clone());
                    stale = variant_of(store, &key).unwrap_or(stale);
                }
            });
            go.store(true, Ordering::SeqCst);
            store.clear();
        });
        assert!(variant_of(store, &key).is_none());
    }
}

// ---- threads ----

/// Who asks after a write was answered gets nothing from before it, whoever else is at it.
#[test]
fn nobody_reads_what_was_there_before_a_write_that_is_over() {
    let version = Arc::new(AtomicUsize::new(0));
    let origin = service_fn(move |request: Request<Empty<Bytes>>| {
        let version = Arc::clone(&version);
        async move {
            let now = match request.method().as_str() {
                "PUT" => version.fetch_add(1, Ordering::SeqCst) + 1,
                _ => version.load(Ordering::SeqCst),
            };
            for _ in 0..now % 4 {
                tokio::task::yield_now().await;
            }
            let response = Response::builder().header("cache-control", "max-age=60");
            let body = Full::new(Bytes::from(now.to_string()));
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    let store = MemoryStore::new(1 << 20);
    let layers = [0, 1].map(|_| HttpCacheLayer::private(store.clone()).clock(clock()));
    let services = layers.map(|layer| layer.layer(origin.clone()));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_time().build().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let tasks = (0..8).map(|task| {
            let (service, written) = (services[task % 2].clone(), Arc::clone(&written));
            tokio::spawn(async move {
                for turn in 0..400 {
                    let writes = (turn + task) % 8 == 0;
                    let method = if writes { "PUT" } else { "GET" };
                    let before = written.load(Ordering::SeqCst);
                    let got = service.clone().oneshot(ask(method, "/x", &[])).await.unwrap();
                    let body = got.into_body().collect().await.unwrap().to_bytes();
                    let got: usize = String::from_utf8_lossy(&body).parse().unwrap();
                    assert!(before <= got, "{got} after {before} was written");
                    if writes {
                        written.fetch_max(got, Ordering::SeqCst);
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// Waits for what other threads do, for a while.
fn until(is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_runtime_that_ends_takes_its_revalidations_along_and_nothing_else() {
    // Stale at once: time does not stand still over there.
    let stale = ("cache-control", "max-age=0, stale-while-revalidate=600");
    let origin = Origin::of([
        reply(200, &[stale], "one"),
        reply(200, &[stale], "two").after(Duration::from_secs(3600)),
        reply(200, &[stale], "three"),
    ]);
    let other = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    let spawner = other.handle().clone();
    let background = background_fn(move |task| drop(spawner.spawn(task)));
    let client = client(&private().background(background), &origin);
    crate::model::run(async {
        client.get("/x", &[]).await;
        pass(10).await;
        assert_eq!(client.get("/x", &[]).await.text(), "one");
        until(|| origin.calls() == 2);
        other.shutdown_background();
        until(|| origin.alive() == 0);
        // What is spawned there now is dropped at once.
        for _ in 0..3 {
            pass(60).await;
            assert_eq!(client.get("/x", &[]).await.text(), "one");
        }
        pass(600).await;
        assert_eq!(client.get("/x", &[]).await.text(), "three");
    });
}

#[tokio::test(start_paused = true)]
async fn no_times_are_too_short_or_too_long_to_wait() {
    for timeout in [Duration::ZERO, Duration::MAX] {
        for remember in [Duration::ZERO, Duration::MAX] {
            let collapse = Collapse::default().timeout(timeout).remember(remember);
            let layer = private().collapse(collapse);
            let origin = Origin::of([
                reply(200, &[("cache-control", "no-store")], "x").after(Duration::from_secs(1)),
                reply(200, &[FRESH], "x").after(Duration::from_secs(1)),
            ]);
            let client = client(&layer, &origin);
            for _ in 0..3 {
                let all = (0..5).map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.get("/x", &[]).await })
                });
                for one in all.collect::<Vec<_>>() {
                    let ends = tokio::time::timeout(Duration::from_secs(60), one).await;
                    assert_eq!(ends.unwrap().unwrap().text(), "x");
                }
            }
            assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit);
        }
    }
}
