//! Attacks. Those that are ignored as defects fail as long as the cache has these.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use palisade_cache::{
    CacheKey, CacheKeyRef, CacheMode, CacheStatus, CachedBody, Entry, FillError, HttpCacheLayer,
    InMemory, MemoryStore, Peek, Route, Stamp, Store, Variant, background_fn,
};
use palisade_core::{BoxError, WallClock, find_cause};
use palisade_testkit::RecordingObserver;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{
    Client, Origin, START, Step, ask, chunk, client, clock, failure, pass, private, reply,
};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// Answers with the number of the call.
fn counting(fields: &'static [(&'static str, &'static str)]) -> Origin {
    let mut calls = 0;
    Origin::new(move |_| {
        calls += 1;
        reply(200, fields, &calls.to_string())
    })
}

/// Answers with what a field of the request says.
fn echo(field: &'static str, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |request| {
        let said = request.headers().get(field).map_or("-", |value| value.to_str().unwrap());
        reply(200, fields, said)
    })
}

// ---- whose answer it is ----

#[tokio::test(start_paused = true)]
async fn hosts_of_requests_in_origin_form_cross() {
    let origin = echo("host", &[FRESH]);
    let client = client(&private(), &origin);
    for host in ["a.example", "b.example"] {
        let mut request = ask("GET", "/", &[("host", host)]);
        *request.uri_mut() = "/x".parse().unwrap();
        assert_eq!(client.send(request).await.text(), host);
    }
}

#[tokio::test(start_paused = true)]
async fn other_keys_of_apis_cross() {
    for name in ["x-api-key", "proxy-authorization", "x-auth-token", "api-key"] {
        let origin = echo(name, &[FRESH]);
        let client = client(&private(), &origin);
        for user in ["alice", "bob"] {
            assert_eq!(client.get("/x", &[(name, user)]).await.text(), user, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_private_and_public_is_given_to_others() {
    for said in ["public, private, max-age=60", "private, max-age=60, public"] {
        let fields: &'static str = said;
        let origin = Origin::new(move |request| {
            let user = request.headers()["authorization"].to_str().unwrap().to_owned();
            reply(200, &[("cache-control", fields)], &user)
        });
        let client = client(&private(), &origin);
        for user in ["alice", "bob"] {
            assert_eq!(client.get("/x", &[("authorization", user)]).await.text(), user, "{said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_set_for_one_is_set_for_others() {
    let origin = Origin::new(|request| {
        let user = request.headers()["authorization"].to_str().unwrap().to_owned();
        let cookie = format!("session={user}");
        let fields = [("cache-control", "public, max-age=60"), ("set-cookie", &*cookie)];
        reply(200, &fields, "same for all")
    });
    let client = client(&private(), &origin);
    for user in ["alice", "bob"] {
        let got = client.get("/x", &[("authorization", user)]).await;
        let cookie = got.headers.get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        assert!(cookie.is_none_or(|cookie| cookie == format!("session={user}")), "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_for_one_user_puts_a_head_on_what_is_for_all() {
    let origin = Origin::new(|request| {
        let user = request.headers().get("authorization");
        let user = user.map_or("nobody", |user| user.to_str().unwrap()).to_owned();
        match request.headers().contains_key("if-none-match") {
            false => reply(200, &[("cache-control", "public, max-age=5"), ("etag", "\"a\"")], "x"),
            true => {
                let fields = [
                    ("cache-control", "private, max-age=60"),
                    ("etag", "\"a\""),
                    ("x-user", &*user),
                ];
                reply(304, &fields, "")
            }
        }
    });
    let client = client(&private(), &origin);
    client.get("/x", &[("authorization", "alice")]).await;
    pass(10).await;
    let bob = client.get("/x", &[("authorization", "bob")]).await;
    assert_eq!(bob.headers["x-user"], "bob");
    // Nobody in particular gets what is Bob's, and private.
    let nobody = client.get("/x", &[]).await;
    assert!(nobody.headers.get("x-user").is_none_or(|user| user == "nobody"), "{nobody:?}");
}

#[tokio::test(start_paused = true)]
async fn get_with_a_body_crosses() {
    // As the search of Elasticsearch has it.
    let origin = service_fn(|request: Request<Full<Bytes>>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let response = Response::builder().header("cache-control", "max-age=60");
        Ok::<_, Infallible>(response.body(Full::new(body)).unwrap())
    });
    let service = private().layer(origin);
    for (query, length) in
        [("one", Some("3")), ("two", Some("3")), ("three", None), ("four", None), ("five", None)]
    {
        let mut request = Request::get("http://a.example/_search");
        // A client writes it below the cache.
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let request = request.body(Full::new(Bytes::from(query))).unwrap();
        let got = service.clone().oneshot(request).await.unwrap();
        assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), query);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_looks_like_a_media_type_crosses() {
    let origin = service_fn(|request: Request<Full<Bytes>>| async move {
        let kind = request.headers().get("content-type").cloned();
        let kind = format!("{kind:?}");
        let response = Response::builder().header("cache-control", "max-age=60");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(kind))).unwrap())
    });
    let service = private().bodies(InMemory::new(1000)).layer(origin);
    let mut got = Vec::new();
    for (kind, body) in [(Some("text/a"), "b"), (None, "text/a\nb")] {
        let mut request = Request::post("http://a.example/q");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        got.push(response.into_body().collect().await.unwrap().to_bytes());
    }
    assert_ne!(got[0], got[1]);
}

#[tokio::test(start_paused = true)]
async fn targets_are_kept_apart() {
    let origin = Origin::new(|request| reply(200, &[FRESH], &request.uri().to_string()));
    let client = client(&private(), &origin);
    for uri in [
        "http://a.example/x?a=1&b=2",
        "http://a.example/x?b=2&a=1",
        "http://alice:1@a.example/x",
        "http://bob:1@a.example/x",
        "http://a.example/x",
        "http://a.example/X",
        "http://a.example//x",
        "http://a.example/x/",
        "http://a.example/%78",
        "http://a.example./x",
        "http://a.example:8080/x",
        "https://a.example/x",
        "https://a.example:80/x",
        "/x",
        "http://b.example@a.example/x",
        "http://a.example@b.example/x",
    ] {
        let mut request = ask("GET", "/", &[]);
        *request.uri_mut() = uri.parse().unwrap();
        let got = client.send(request).await;
        assert_eq!(got.text(), uri.parse::<http::Uri>().unwrap().to_string());
    }
    let mut request = ask("GET", "/", &[]);
    *request.uri_mut() = "HTTP://A.EXAMPLE:80/x#frag".parse().unwrap();
    assert_eq!(client.send(request).await.cache, CacheStatus::Hit);
}

// ---- Vary ----

#[tokio::test(start_paused = true)]
async fn vary_by_anything_or_by_thousands_is_not_stored() {
    let many = (0..5000).map(|index| format!("n{index}")).collect::<Vec<_>>().join(", ");
    for vary in ["*", "foo, *", &many] {
        let origin = Origin::of([reply(200, &[FRESH, ("vary", vary)], "one")]);
        let client = client(&private(), &origin);
        client.get("/x", &[]).await;
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_vary_hides_those_with() {
    // RFC 9111, section 4.1: one with a valid Vary is preferred to one that omits it.
    let origin = Origin::new(|request| match request.headers().get("foo") {
        Some(foo) => reply(200, &[FRESH, ("vary", "foo")], foo.to_str().unwrap()),
        None => reply(200, &[FRESH], "default"),
    });
    let client = client(&private(), &origin);
    assert_eq!(client.get("/x", &[("foo", "1")]).await.text(), "1");
    assert_eq!(client.get("/x", &[]).await.text(), "default");
    assert_eq!(client.get("/x", &[("foo", "1")]).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_variant_that_is_not_theirs_asks() {
    let origin = Origin::new(|request| {
        let foo = request.headers().get("foo").map_or("-", |foo| foo.to_str().unwrap());
        reply(200, &[FRESH, ("vary", "foo")], foo).after(SECOND)
    });
    let client = client(&private(), &origin);
    let mut all = tokio::task::JoinSet::new();
    for index in 0..100 {
        let (client, foo) = (client.clone(), (index % 5).to_string());
        all.spawn(async move {
            assert_eq!(client.get("/x", &[("foo", &foo)]).await.text(), foo);
        });
    }
    all.join_all().await;
}

// ---- clocks ----

#[derive(Debug)]
struct Set(AtomicU64);

impl WallClock for Set {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_keeps_answers_fresh_for_years() {
    let year = 365 * 86_400;
    let clock = Arc::new(Set(AtomicU64::new(START + year)));
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock.clone());
    let client = client(&layer, &counting(&[FRESH]));
    client.get("/x", &[]).await;
    // The clock was wrong, and is set right.
    clock.0.store(START, Ordering::SeqCst);
    pass(year / 2).await;
    clock.0.store(START + year / 2, Ordering::SeqCst);
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_forwards_makes_answers_stale() {
    let clock = Arc::new(Set(AtomicU64::new(START)));
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock.clone());
    let client = client(&layer, &counting(&[FRESH]));
    client.get("/x", &[]).await;
    clock.0.store(u64::MAX >> 8, Ordering::SeqCst);
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn hostile_fields_panic_nowhere() {
    for (name, value) in [
        ("cache-control", "max-age=99999999999999999999999999"),
        ("cache-control", "max-age=-1, max-age=60, max-age=\"\t\""),
        ("cache-control", ",,,=,=\"\\,;max-age"),
        ("age", "18446744073709551616"),
        ("age", "-1, 60"),
        ("date", "Thu, 32 Foo 99999 99:99:99 GMT"),
        ("date", "Mon, 01 Jan 0000 00:00:00 GMT"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("content-length", "18446744073709551616"),
        ("content-length", "-5"),
        ("content-range", "bytes 18446744073709551615-18446744073709551615/*"),
        ("etag", "\"\u{e9}\""),
        ("vary", "\u{e9}"),
        ("last-modified", "Sat, 01 Jan 0000 00:00:00 GMT"),
    ] {
        for status in [200, 203, 204, 206, 301, 304, 404, 416, 500, 599] {
            let fields = [FRESH, (name, value), ("last-modified", "x")];
            let origin = Origin::of([reply(status, &fields, "hello")]);
            let client = client(&private().stale_if_error(SECOND), &origin);
            for fields in
                [&[][..], &[("range", "bytes=-0")], &[("range", "bytes=0-18446744073709551615")]]
            {
                client.get("/x", fields).await;
                pass(70).await;
                client.get("/x", fields).await;
            }
        }
    }
}

/// Adds fields until there is room for no other one, or for so many more.
fn fill_up(headers: &mut HeaderMap, room: usize) {
    for index in room..24_576 + 2 {
        let name = http::HeaderName::try_from(format!("n{index}")).unwrap();
        if headers.try_insert(name, "v".parse().unwrap()).is_err() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_as_large_as_they_may_be_pass() {
    for room in [0, 1, 3, 24_576 - 4096, 24_576 - 4090] {
        for (first, later) in [(true, false), (false, true), (true, true)] {
            let origin = service_fn(move |request: Request<Empty<Bytes>>| {
                let conditional = request.headers().contains_key("if-none-match");
                let mut response = Response::new(Full::new(Bytes::from("hello")));
                let status = if conditional { 304 } else { 200 };
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                let headers = response.headers_mut();
                headers.insert("cache-control", "max-age=5".parse().unwrap());
                headers.insert("etag", "\"a\"".parse().unwrap());
                if if conditional { later } else { first } {
                    fill_up(headers, room);
                }
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let service = private().cache_status("test").layer(origin);
            for (range, mode, large) in [
                (None, CacheMode::Default, false),
                (Some("bytes=0-1"), CacheMode::Default, false),
                (Some("bytes=9-"), CacheMode::Default, false),
                (None, CacheMode::NoCache, true),
                (None, CacheMode::Reload, true),
                (None, CacheMode::Default, true),
            ] {
                let mut request = ask("GET", "/x", &[]);
                if large {
                    fill_up(request.headers_mut(), room);
                }
                if let Some(range) = range {
                    request.headers_mut().insert("range", range.parse().unwrap());
                }
                request.extensions_mut().insert(mode);
                let got = service.clone().oneshot(request).await.unwrap();
                got.into_body().collect().await.unwrap();
                pass(10).await;
            }
        }
    }
}

// ---- bodies ----

#[tokio::test(start_paused = true)]
async fn a_body_that_hangs_takes_no_later_requests_with_it() {
    let stuck = reply(200, &[FRESH], "").body([chunk("a"), Step::Wait(LONG), chunk("b")]);
    let origin = Origin::of([stuck, reply(200, &[FRESH], "good")]);
    let client = client(&private(), &origin);
    let first = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    // Longer than anybody waits for others, as the layer has it.
    pass(30).await;
    let got = timeout(60 * SECOND, client.get("/x", &[])).await;
    drop(first);
    assert_eq!(got.expect("it hangs").text(), "good");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_does_not_read_holds_nobody_up() {
    let steps = [chunk("a"), Step::Wait(SECOND), chunk("b"), Step::Wait(SECOND), chunk("c")];
    let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
    let client = client(&private(), &origin);
    let leader = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    let follower = client.clone();
    let follower = tokio::spawn(async move { follower.get("/x", &[]).await });
    let got = timeout(10 * SECOND, follower).await.unwrap().unwrap();
    assert_eq!((got.text(), origin.calls()), ("abc", 1));
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit);
    assert_eq!(leader.into_body().collect().await.unwrap().to_bytes(), "abc");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_takes_nobody_along() {
    let steps = || [chunk("a"), Step::Wait(SECOND), chunk("b"), Step::Wait(SECOND)];
    // Before it is polled, once it is, and after so many frames.
    for stage in 0..5 {
        let origin = Origin::of([reply(200, &[FRESH], "").body(steps()).after(SECOND)]);
        let layer = private();
        let client = client(&layer, &origin);
        let mut leader = Box::pin(client.service.clone().oneshot(ask("GET", "/x", &[])));
        if 0 < stage {
            assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let follower = client.clone();
        let follower = tokio::spawn(async move { follower.get("/x", &[]).await });
        tokio::task::yield_now().await;
        if stage < 2 {
            drop(leader);
        } else {
            let mut body = leader.await.unwrap().into_body();
            for _ in 2..stage {
                body.frame().await.unwrap().unwrap();
            }
            drop(body);
        }
        assert_eq!(follower.await.unwrap().text(), "ab", "{stage}");
        assert_eq!(origin.calls(), 1, "{stage}");
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit, "{stage}");
        assert_eq!(origin.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn once_all_are_gone_so_is_the_call() {
    let origin = Origin::of([
        reply(200, &[FRESH], "").body([chunk("a"), Step::Wait(LONG)]),
        reply(200, &[FRESH], "new"),
    ]);
    let client = client(&private(), &origin);
    let one = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    let two = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    drop(one);
    assert_eq!(origin.alive(), 1);
    drop(two);
    assert_eq!(origin.alive(), 0);
    assert_eq!(client.get("/x", &[]).await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn lengths_that_lie_are_an_error_to_followers_and_not_stored() {
    for length in ["4", "2", "1000"] {
        let steps = [chunk("a"), Step::Wait(SECOND), chunk("bc")];
        let fields = [FRESH, ("content-length", length)];
        let origin = Origin::of([reply(200, &fields, "").body(steps)]);
        let layer = private();
        let client = client(&layer, &origin);
        let leader = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
        let got = client.get("/x", &[]).await;
        assert!(got.body.is_err(), "{length}: {got:?}");
        drop(leader);
        assert!(layer.store().is_empty());
        // But one that says nothing, or the truth, is stored.
    }
    let origin = Origin::of([reply(200, &[FRESH, ("content-length", "3")], "abc")]);
    let layer = private();
    client(&layer, &origin).get("/x", &[]).await;
    assert!(!layer.store().is_empty());
}

#[tokio::test(start_paused = true)]
async fn trailers_reach_all_who_read_together() {
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", "1".parse().unwrap());
    let steps =
        [chunk("a"), Step::Wait(SECOND), Step::Trailers(trailers), chunk("late"), Step::Fail];
    let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
    let client = client(&private(), &origin);
    let one = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    let two = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    for response in [one, two] {
        let all = response.into_body().collect().await.unwrap();
        assert_eq!(all.trailers().unwrap()["sum"], "1");
        assert_eq!(all.to_bytes(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_stored_too() {
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", "1".parse().unwrap());
    for text in ["abc", ""] {
        let steps = [chunk(text), Step::Trailers(trailers.clone())];
        let fields = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
        let not_modified = reply(304, &fields, "");
        let origin = Origin::of([reply(200, &fields, "").body(steps), not_modified]);
        let client = client(&private(), &origin);
        for (after, status) in
            [(0, CacheStatus::Miss), (0, CacheStatus::Hit), (70, CacheStatus::Revalidated)]
        {
            pass(after).await;
            let response = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
            let mut body = response.into_body();
            assert_eq!((body.cache_status(), body.is_end_stream()), (status, false));
            if !text.is_empty() {
                assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), text);
                assert!(!body.is_end_stream());
            }
            assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
            assert!(body.frame().await.is_none());
        }
        // They are about all of it.
        for (method, fields) in [("HEAD", &[][..]), ("GET", &[("range", "bytes=0-0")])] {
            let response = client.service.clone().oneshot(ask(method, "/x", fields)).await.unwrap();
            assert!(response.into_body().collect().await.unwrap().trailers().is_none());
        }
    }
    // Fields that say nothing are none.
    let steps = [chunk("a"), Step::Trailers(HeaderMap::new())];
    let client = client(&private(), &Origin::of([reply(200, &[FRESH], "").body(steps)]));
    client.get("/x", &[]).await;
    assert_eq!(client.get("/x", &[]).await.text(), "a");
}

/// A body that says the same for ever.
#[derive(Clone)]
struct Endless {
    frame: Bytes,
    polls: Arc<AtomicUsize>,
    most: usize,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polls = self.polls.fetch_add(1, Ordering::SeqCst);
        if self.most < polls {
            return Poll::Ready(None);
        }
        if polls % 64 == 63 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

/// How many bytes a reader alone makes a fill take for such frames.
async fn peak(frame: &'static [u8], frames: usize) -> u64 {
    let polls = Arc::new(AtomicUsize::new(0));
    let body = Endless { frame: Bytes::from_static(frame), polls, most: frames };
    let origin = service_fn(move |_: Request<Empty<Bytes>>| {
        let response = Response::builder().header("cache-control", "max-age=60");
        let response = response.body(body.clone()).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    let response = layer.layer(origin).oneshot(ask("GET", "/x", &[])).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let info = allocation_counter::measure(|| {
        let cx = &mut Context::from_waker(Waker::noop());
        while !matches!(body.as_mut().poll_frame(cx), Poll::Ready(None)) {}
    });
    info.bytes_max
}

#[tokio::test(start_paused = true)]
async fn empty_frames_are_kept_for_ever() {
    // The largest body is 64 KiB.
    let peak = peak(b"", 1_000_000).await;
    assert!(peak < 1 << 20, "{peak} bytes");
}

#[tokio::test(start_paused = true)]
async fn frames_of_one_byte_take_little_more_than_their_bytes() {
    let peak = peak(b"x", 1_000_000).await;
    assert!(peak < 512 << 10, "{peak} bytes for 64 KiB");
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_does_not_read_bounds_what_is_held() {
    for (length, frames) in [(1, 300_000), (100, 10_000), (4096, 10_000)] {
        let polls = Arc::new(AtomicUsize::new(0));
        let body = Endless { frame: Bytes::from(vec![b'x'; length]), polls, most: frames };
        let origin = service_fn(move |_: Request<Empty<Bytes>>| {
            let response = Response::builder().header("cache-control", "max-age=60");
            let response = response.body(body.clone()).unwrap();
            async move { Ok::<_, Infallible>(response) }
        });
        let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
        let service = layer.layer(origin);
        let one = service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
        let two = service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
        let mut one = Box::pin(one.into_body());
        let info = allocation_counter::measure(|| {
            let cx = &mut Context::from_waker(Waker::noop());
            while !matches!(one.as_mut().poll_frame(cx), Poll::Ready(None)) {}
        });
        // The largest body is 64 KiB.
        assert!(info.bytes_max < 256 << 10, "{} bytes for {length}", info.bytes_max);
        let error = two.into_body().collect().await.unwrap_err();
        assert!(find_cause::<FillError>(&*error).unwrap().is_lagged());
    }
}

type Shared = CachedBody<crate::support::OriginBody>;

/// A waker that reads another body once it wakes, and lets go of it once it is dropped.
struct Reenters {
    body: Mutex<Option<Pin<Box<Shared>>>>,
    read: Arc<AtomicUsize>,
}

impl std::task::Wake for Reenters {
    fn wake(self: Arc<Self>) {
        let cx = &mut Context::from_waker(Waker::noop());
        let body = self.body.lock().unwrap().take();
        let Some(mut body) = body else { return };
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(cx) {
            self.read.fetch_add(frame.unwrap().into_data().unwrap().len(), Ordering::SeqCst);
        }
        *self.body.lock().unwrap() = Some(body);
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_may_read_and_leave() {
    for drops in [false, true] {
        let steps = [chunk("a"), Step::Wait(SECOND), chunk("b"), Step::Wait(SECOND), chunk("c")];
        let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
        let layer = private();
        let client = client(&layer, &origin);
        let open = || client.service.clone().oneshot(ask("GET", "/x", &[]));
        let [mut one, two] = [open().await.unwrap(), open().await.unwrap()]
            .map(|response| Box::pin(response.into_body()));
        let read = Arc::new(AtomicUsize::new(0));
        let waker = Reenters { body: Mutex::new(Some(two)), read: Arc::clone(&read) };
        let waker = Waker::from(Arc::new(waker));
        let mut text = Vec::new();
        let mut poll = |waker: &Waker| {
            let cx = &mut Context::from_waker(waker);
            while let Poll::Ready(Some(frame)) = one.as_mut().poll_frame(cx) {
                text.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
        };
        poll(&waker);
        drop(waker);
        if drops {
            // The fill has the last one, and drops it for this.
            poll(Waker::noop());
        }
        sleep(SECOND).await;
        poll(Waker::noop());
        sleep(SECOND).await;
        poll(Waker::noop());
        assert_eq!(text, b"abc");
        assert_eq!(read.load(Ordering::SeqCst), if drops { 0 } else { 2 });
        assert!(!layer.store().is_empty());
        assert_eq!(origin.alive(), 0);
    }
}

// ---- many, failures, panics ----

#[tokio::test(start_paused = true)]
async fn a_thousand_over_a_limit_of_one() {
    let origin = Origin::new(|request| {
        reply(200, &[FRESH], request.uri().path()).after(Duration::from_millis(10))
    });
    let stack = ConcurrencyLimitLayer::new(1).layer(origin.clone());
    let client = Client { service: private().layer(stack) };
    let mut all = tokio::task::JoinSet::new();
    for index in 0..1000 {
        let client = client.clone();
        let uri = format!("/{}", index % 10);
        all.spawn(async move { assert_eq!(client.get(&uri, &[]).await.text(), uri) });
    }
    timeout(LONG, all.join_all()).await.unwrap();
    assert_eq!(origin.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn followers_of_failures_go_one_by_one_and_then_no_more() {
    let origin = Origin::of([failure().after(SECOND)]);
    let client = client(&private(), &origin);
    let start = tokio::time::Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        all.spawn(async move { client.try_send(ask("GET", "/x", &[])).await });
    }
    let all = all.join_all().await;
    // Errors cannot be cloned: each is that of a call.
    assert_eq!(all.iter().filter(|got| got.is_err()).count(), 3);
    assert!(all.iter().flatten().all(|got| got.status == 504));
    assert_eq!((start.elapsed(), origin.calls()), (3 * SECOND, 3));
}

#[derive(Clone)]
struct Panics {
    at: &'static str,
    origin: Origin,
    armed: Arc<AtomicBool>,
}

impl Service<crate::support::Ask> for Panics {
    type Response = Response<PanicBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.boom("ready");
        self.origin.poll_ready(cx)
    }

    fn call(&mut self, request: crate::support::Ask) -> Self::Future {
        self.boom("call");
        let this = self.clone();
        let future = self.origin.call(request);
        Box::pin(async move {
            sleep(SECOND).await;
            this.boom("future");
            Ok(future.await?.map(|body| PanicBody { inner: Box::pin(body), panics: this }))
        })
    }
}

impl Panics {
    fn boom(&self, at: &str) {
        if self.at == at && self.armed.swap(false, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("scripted"));
        }
    }
}

struct PanicBody {
    inner: Pin<Box<crate::support::OriginBody>>,
    panics: Panics,
}

impl Drop for PanicBody {
    fn drop(&mut self) {
        self.panics.boom("drop");
    }
}

impl Body for PanicBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.panics.boom("body");
        self.inner.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.panics.boom("end");
        false
    }
}

#[tokio::test(start_paused = true)]
async fn panics_leave_nothing_behind() {
    for at in ["ready", "call", "future", "body", "end", "drop"] {
        let steps = [chunk("a"), Step::Wait(SECOND), chunk("b")];
        let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
        let inner = Panics { at, origin: origin.clone(), armed: Arc::new(AtomicBool::new(true)) };
        let client = Client { service: private().layer(inner) };
        let mut all = Vec::new();
        for _ in 0..5 {
            let client = client.clone();
            all.push(tokio::spawn(async move { client.try_send(ask("GET", "/x", &[])).await }));
        }
        let (mut panicked, mut good) = (0, 0);
        for one in all {
            match timeout(LONG, one).await.expect(at) {
                Err(_) => panicked += 1,
                Ok(Ok(got)) if got.body.as_deref() == Ok("ab") => good += 1,
                Ok(Ok(got)) => assert!(got.body.is_err() || got.status == 502, "{at}: {got:?}"),
                Ok(Err(_)) => {}
            }
        }
        assert_eq!(panicked, 1, "{at}");
        assert!(0 < good || at == "body" || at == "end", "{at}");
        assert_eq!(client.get("/x", &[]).await.text(), "ab", "{at}");
        assert_eq!(origin.alive(), 0, "{at}");
    }
}

// ---- stale while revalidating ----

type Tasks = Arc<Mutex<Vec<palisade_cache::BoxTask>>>;

#[tokio::test(start_paused = true)]
async fn an_origin_that_fails_is_not_asked_again_by_each_stale_hit() {
    let stale = ("cache-control", "max-age=1, stale-while-revalidate=600");
    let origin = Origin::of([reply(200, &[stale], "one"), reply(503, &[], "down")]);
    let layer = private().background(background_fn(|work| {
        tokio::spawn(work);
    }));
    let client = client(&layer, &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    for _ in 0..100 {
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Stale);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    // All at one moment.
    assert!(origin.calls() < 10, "{} calls", origin.calls());
}

#[tokio::test(start_paused = true)]
async fn a_directive_of_the_request_makes_each_stale_hit_revalidate() {
    let stale = ("cache-control", "max-age=1, stale-while-revalidate=600");
    let origin =
        Origin::of([reply(200, &[stale], "one"), reply(200, &[stale], "two").after(SECOND)]);
    let layer = private().background(background_fn(|work| {
        tokio::spawn(work);
    }));
    let client = client(&layer, &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    for _ in 0..100 {
        let got = client.get("/x", &[("cache-control", "stale-if-error=60")]).await;
        assert_eq!(got.cache, CacheStatus::Stale);
        tokio::task::yield_now().await;
    }
    assert!(origin.calls() < 10, "{} calls", origin.calls());
}

#[tokio::test(start_paused = true)]
async fn a_background_that_drops_tasks_or_never_runs_them_does_no_harm() {
    let stale = ("cache-control", "max-age=1, stale-while-revalidate=10");
    for keeps in [false, true] {
        let origin = Origin::of([reply(200, &[stale], "one"), reply(200, &[stale], "two")]);
        let tasks = Tasks::default();
        let kept = Arc::clone(&tasks);
        let layer = private().background(background_fn(move |work| {
            if keeps {
                kept.lock().unwrap().push(work);
            }
        }));
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        for _ in 0..10 {
            assert_eq!(client.get("/x", &[]).await.text(), "one");
        }
        assert!(tasks.lock().unwrap().len() < 2);
        assert_eq!(origin.calls(), 1);
        pass(60).await;
        let got = timeout(LONG, client.get("/x", &[])).await.unwrap();
        assert_eq!(got.text(), "two", "{keeps}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_reads_no_body_that_is_not_stored() {
    let polls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&polls);
    let calls = Arc::new(AtomicUsize::new(0));
    let origin = service_fn(move |_: Request<Empty<Bytes>>| {
        let stale = "max-age=1, stale-while-revalidate=600";
        let response = Response::builder().header("cache-control", stale);
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        let frame = Bytes::from(vec![b'x'; 1024]);
        let body = match first {
            true => Endless { frame, polls: Arc::new(AtomicUsize::new(0)), most: 1 },
            false => Endless { frame, polls: Arc::clone(&polls), most: 100_000 },
        };
        let response = response.body(body).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    let layer = layer.background(background_fn(|work| {
        tokio::spawn(work);
    }));
    let service = layer.layer(origin);
    for _ in 0..2 {
        let got = service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
        got.into_body().collect().await.unwrap();
        pass(5).await;
    }
    for _ in 0..5000 {
        tokio::task::yield_now().await;
    }
    // The largest body is 64 KiB: there is no reason to read 100 MB.
    let frames = seen.load(Ordering::SeqCst);
    assert!(0 < frames && frames < 1000, "{frames} frames");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_fails_is_asked_less_and_less_until_it_does_not() {
    let stale = ("cache-control", "max-age=1, stale-while-revalidate=6000");
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let origin = Origin::new(move |_| match failing.load(Ordering::SeqCst) {
        true => failure(),
        false => reply(200, &[stale], "x"),
    });
    let layer = private().background(background_fn(|work| {
        tokio::spawn(work);
    }));
    let client = client(&layer, &origin);
    client.get("/x", &[]).await;
    let asked_for = async |seconds: u32| {
        let calls = origin.calls();
        for _ in 0..4 * seconds {
            client.get("/x", &[]).await;
            sleep(SECOND / 4).await;
        }
        origin.calls() - calls
    };
    pass(5).await;
    fails.store(true, Ordering::SeqCst);
    // At 0, 1, 3, 7 and 15 seconds, and then every 30.
    assert_eq!(asked_for(300).await, 5 + 9);
    // Who needs an answer gets one.
    let mut request = ask("GET", "/x", &[]);
    request.extensions_mut().insert(CacheMode::NoCache);
    assert!(client.try_send(request).await.is_err());
    fails.store(false, Ordering::SeqCst);
    assert!(asked_for(30).await > 10);
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_lets_go_of_what_is_not_for_it() {
    let stale = ("cache-control", "max-age=1, stale-while-revalidate=600");
    for down in [
        reply(503, &[], "down"),
        reply(200, &[("cache-control", "no-store")], "two"),
        reply(200, &[stale], "").body([chunk("two"), Step::Fail]),
        failure(),
    ] {
        let origin = Origin::of([reply(200, &[stale], "one"), down]);
        let layer = private().background(background_fn(|work| {
            tokio::spawn(work);
        }));
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        client.get("/x", &[]).await;
        sleep(SECOND).await;
        // A body that nobody reads and nobody drops keeps its connection.
        assert_eq!((origin.calls(), origin.alive()), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_it_is_revalidated_stays_so() {
    let stale = ("cache-control", "max-age=1, stale-while-revalidate=600");
    for (validator, status) in [(true, 304), (false, 200)] {
        let mut call = 0;
        let origin = Origin::new(move |request| {
            call += 1;
            let tag = if validator { "\"a\"" } else { "x" };
            match (call, request.method().as_str()) {
                (_, "PUT") => reply(204, &[], ""),
                (1, _) => reply(200, &[stale, ("etag", tag)], "old"),
                (2, _) => reply(status, &[stale, ("etag", tag)], "old").after(10 * SECOND),
                _ => reply(200, &[stale], "new"),
            }
        });
        let layer = private().background(background_fn(|work| {
            tokio::spawn(work);
        }));
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Stale);
        tokio::task::yield_now().await;
        assert_eq!(client.send(ask("PUT", "/x", &[])).await.status, 204);
        sleep(20 * SECOND).await;
        assert!(layer.store().is_empty(), "{status}");
        assert_eq!(client.get("/x", &[]).await.text(), "new", "{status}");
    }
}

// ---- invalidation ----

#[tokio::test(start_paused = true)]
async fn a_write_during_a_fill_lets_later_requests_join_it() {
    let mut call = 0;
    let origin = Origin::new(move |request| {
        call += 1;
        match (call, request.method().as_str()) {
            (_, "PUT") => reply(204, &[], ""),
            (1, _) => reply(200, &[FRESH], "").body([chunk("old"), Step::Wait(5 * SECOND)]),
            _ => reply(200, &[FRESH], "new"),
        }
    });
    let client = client(&private(), &origin);
    let reader = client.clone();
    let reader = tokio::spawn(async move { reader.get("/x", &[]).await });
    sleep(SECOND).await;
    client.send(ask("PUT", "/x", &[])).await;
    // Asked for after the write has been answered.
    assert_eq!(client.get("/x", &[]).await.text(), "new");
    assert_eq!(reader.await.unwrap().text(), "old");
    assert_eq!(client.get("/x", &[]).await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn writes_invalidate_whatever_their_method() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "FOO", "get", "LOCK"] {
        let origin = counting(&[FRESH]);
        let client = client(&private(), &origin);
        client.get("/x", &[]).await;
        client.send(ask(method, "/x", &[])).await;
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss, "{method}");
    }
    for (location, status) in [
        ("http://b.example/y", CacheStatus::Hit),
        ("//a.example:81/y", CacheStatus::Hit),
        ("http://a.example@b.example/y", CacheStatus::Hit),
        ("y", CacheStatus::Miss),
    ] {
        let origin = Origin::new(move |request| match request.method().as_str() {
            "POST" => reply(201, &[("location", location)], ""),
            _ => reply(200, &[FRESH], "x"),
        });
        let client = client(&private(), &origin);
        client.get("/y", &[]).await;
        client.send(ask("POST", "/x", &[])).await;
        assert_eq!(client.get("/y", &[]).await.cache, status, "{location}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_location_is_invalidated_by_the_route_of_another() {
    let origin = Origin::new(|request| match request.method().as_str() {
        "POST" => reply(201, &[("location", "/items?id=1&utm=2")], ""),
        _ => reply(200, &[FRESH], "x"),
    });
    let layer = private().route(Route::prefix("/items").only_query(["id"]));
    let client = client(&layer, &origin);
    client.get("/items?id=1&utm=2", &[]).await;
    client.send(ask("POST", "/new", &[])).await;
    assert_eq!(client.get("/items?id=1&utm=2", &[]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_write_makes_answers_to_query_invalid() {
    let calls = Arc::new(AtomicUsize::new(0));
    let origin = service_fn(move |_: Request<Full<Bytes>>| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        let response = Response::builder().header("cache-control", "max-age=60");
        let response = response.body(Full::new(Bytes::from(call.to_string()))).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let service = private().bodies(InMemory::new(100)).layer(origin);
    let mut statuses = Vec::new();
    for (method, body) in [("QUERY", "q"), ("PUT", "new"), ("QUERY", "q")] {
        let request = Request::builder().method(method).uri("http://a.example/x");
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let got = service.clone().oneshot(request).await.unwrap();
        statuses.push(got.body().cache_status());
        got.into_body().collect().await.unwrap();
    }
    assert_eq!(statuses[2], CacheStatus::Miss);
}

// ---- what is stored for all, and for one ----

#[tokio::test(start_paused = true)]
async fn what_is_stale_for_one_hides_what_is_fresh_for_all() {
    let mut call = 0;
    let origin = Origin::new(move |_| {
        call += 1;
        match call {
            1 => reply(200, &[("cache-control", "max-age=5")], "one"),
            _ => reply(200, &[("cache-control", "public, max-age=600")], "two"),
        }
    });
    let client = client(&private(), &origin);
    let alice = &[("authorization", "alice")][..];
    client.get("/x", alice).await;
    pass(10).await;
    assert_eq!(client.get("/x", alice).await.cache, CacheStatus::Miss);
    for _ in 0..5 {
        assert_eq!(client.get("/x", alice).await.cache, CacheStatus::Hit);
    }
}

// ---- validation and ranges ----

#[tokio::test(start_paused = true)]
async fn a_304_for_what_is_gone_or_replaced() {
    for replaces in [false, true] {
        let mut call = 0;
        let origin = Origin::new(move |request| {
            call += 1;
            match (call, request.headers().contains_key("if-none-match")) {
                (1, _) => reply(200, &[("cache-control", "max-age=1"), ("etag", "\"a\"")], "old"),
                (2, true) => reply(304, &[FRESH, ("etag", "\"a\"")], "").after(5 * SECOND),
                _ => reply(200, &[FRESH, ("etag", "\"b\"")], "new"),
            }
        });
        let layer = private();
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        let one = client.clone();
        let one = tokio::spawn(async move { one.get("/x", &[]).await });
        sleep(SECOND).await;
        layer.store().clear();
        if replaces {
            let mut request = ask("GET", "/x", &[]);
            request.extensions_mut().insert(CacheMode::Reload);
            assert_eq!(client.send(request).await.text(), "new");
        }
        let got = one.await.unwrap();
        assert_eq!((got.status.as_u16(), got.text()), (200, "old"));
        let got = client.get("/x", &[]).await;
        assert_eq!(got.text(), "new", "{replaces}");
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_and_ranges_on_what_is_stored() {
    let origin = Origin::new(|request| match request.uri().path() {
        "/0" => reply(200, &[FRESH, ("etag", "\"a\"")], ""),
        _ => reply(200, &[FRESH, ("etag", "\"a\"")], "0123456789"),
    });
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    client.get("/0", &[]).await;
    for (uri, fields, status, body) in [
        ("/x", &[("range", "bytes=0-0")][..], 206, "0"),
        ("/x", &[("range", "bytes=-3")], 206, "789"),
        ("/x", &[("range", "bytes=-99")], 206, "0123456789"),
        ("/x", &[("range", "bytes=9-")], 206, "9"),
        ("/x", &[("range", "bytes=10-")], 416, ""),
        ("/x", &[("range", "bytes=-0")], 416, ""),
        ("/x", &[("range", "bytes=5-4")], 200, "0123456789"),
        ("/x", &[("range", "bytes=0-1"), ("if-range", "\"b\"")], 200, "0123456789"),
        ("/x", &[("range", "bytes=0-1"), ("if-range", "\"a\"")], 206, "01"),
        ("/x", &[("if-none-match", "*")], 304, ""),
        ("/x", &[("if-none-match", "\"b\", W/\"a\"")], 304, ""),
        ("/x", &[("if-none-match", "\"b\"")], 200, "0123456789"),
        ("/0", &[("range", "bytes=0-0")], 416, ""),
    ] {
        let got = client.get(uri, fields).await;
        assert_eq!((got.status.as_u16(), got.text()), (status, body), "{uri} {fields:?}");
        assert_eq!(got.cache, CacheStatus::Hit, "{uri} {fields:?}");
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_asks() {
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    let only = &[("cache-control", "only-if-cached")][..];
    for method in ["GET", "HEAD"] {
        assert_eq!(client.send(ask(method, "/x", only)).await.status, 504);
    }
    client.get("/x", &[]).await;
    assert_eq!(client.get("/x", only).await.status, 200);
    pass(100).await;
    assert_eq!(client.get("/x", only).await.status, 504);
    assert_eq!(origin.calls(), 1);
    let mut request = ask("GET", "/x", &[]);
    request.extensions_mut().insert(CacheMode::OnlyIfCached);
    assert_eq!(client.send(request).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_is_remembered_for_a_moment_only() {
    let origin = Origin::new(|_| reply(200, &[("cache-control", "no-store")], "x").after(SECOND));
    let client = client(&private(), &origin);
    let start = tokio::time::Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        all.spawn(async move { client.get("/x", &[]).await.cache });
    }
    all.join_all().await;
    assert_eq!((start.elapsed(), origin.calls()), (2 * SECOND, 100));
}

// ---- stores ----

/// A store that panics where it is told to.
#[derive(Clone)]
struct Bad {
    store: MemoryStore,
    at: &'static str,
}

impl Bad {
    fn boom(&self, at: &str) {
        if self.at == at {
            std::panic::resume_unwind(Box::new("scripted"));
        }
    }
}

impl Store for Bad {
    type Get = std::future::Ready<Option<Entry>>;

    fn peek(&self, key: CacheKeyRef<'_>) -> Peek {
        self.boom("peek");
        self.store.peek(key)
    }

    fn get(&self, key: &CacheKey) -> Self::Get {
        self.store.get(key)
    }

    fn stamp(&self) -> Stamp {
        self.boom("stamp");
        self.store.stamp()
    }

    fn is_current(&self, key: CacheKeyRef<'_>, asked: Stamp) -> bool {
        self.boom("current");
        self.store.is_current(key, asked)
    }

    fn put(&self, key: &CacheKey, variant: Variant) -> bool {
        self.boom("put");
        self.store.put(key, variant)
    }

    fn freshen(&self, key: &CacheKey, variant: &Variant, head: Variant) {
        self.store.freshen(key, variant, head);
    }

    fn invalidate(&self, key: CacheKeyRef<'_>) {
        self.boom("invalidate");
        self.store.invalidate(key);
    }

    fn max_body(&self) -> u64 {
        self.boom("max");
        Store::max_body(&self.store)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_hangs_nobody() {
    for at in ["peek", "stamp", "current", "put", "max", "invalidate"] {
        let store = Bad { store: MemoryStore::new(1 << 20), at };
        let origin = Origin::of([reply(200, &[FRESH], "one").after(SECOND)]);
        let layer = HttpCacheLayer::private(store).clock(clock());
        let client = Client { service: layer.layer(origin.clone()) };
        for _ in 0..2 {
            let mut all = Vec::new();
            for method in ["GET", "GET", "GET", "PUT"] {
                let client = client.clone();
                all.push(tokio::spawn(
                    async move { client.try_send(ask(method, "/x", &[])).await },
                ));
            }
            for one in all {
                if let Ok(Ok(got)) = timeout(LONG, one).await.expect(at) {
                    assert!(got.body.is_err() || got.status == 502 || got.text() == "one");
                }
            }
        }
        assert_eq!(origin.alive(), 0, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_heavy_is_answered_and_not_stored() {
    for fields in [true, false] {
        let huge = "x".repeat(1 << 20);
        let steps = vec![Step::Chunk(Bytes::from(huge.clone()))];
        let origin = match fields {
            true => Origin::of([reply(200, &[FRESH, ("x-huge", &*huge)], "one")]),
            false => Origin::of([reply(200, &[FRESH], "").body(steps)]),
        };
        let layer = HttpCacheLayer::private(MemoryStore::new(1 << 18)).clock(clock());
        let client = client(&layer, &origin);
        assert_eq!(client.get("/x", &[]).await.status, 200);
        assert!(layer.store().is_empty());
    }
}

// ---- more ----

#[tokio::test(start_paused = true)]
async fn head_for_one_user_puts_a_head_on_what_is_for_all() {
    let origin = Origin::new(|request| {
        let user = request.headers().get("authorization");
        let user = user.map_or("nobody", |user| user.to_str().unwrap()).to_owned();
        match request.method().as_str() {
            "HEAD" => {
                let fields = [("cache-control", "private, max-age=60"), ("x-user", &*user)];
                reply(200, &fields, "")
            }
            _ => reply(200, &[("cache-control", "public, max-age=5")], "x"),
        }
    });
    let client = client(&private(), &origin);
    client.get("/x", &[("authorization", "alice")]).await;
    pass(10).await;
    client.send(ask("HEAD", "/x", &[("authorization", "bob")])).await;
    let nobody = client.get("/x", &[]).await;
    assert!(nobody.headers.get("x-user").is_none_or(|user| user == "nobody"), "{nobody:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shared_cache_mixes_nobody_up_while_it_collapses() {
    for (fields, personal) in [
        (&[("cache-control", "max-age=60")][..], true),
        (&[("cache-control", "private, max-age=60")], true),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], true),
        (&[("cache-control", "public, private, max-age=60")], true),
        (&[("cache-control", "s-maxage=60")], false),
    ] {
        let owned: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let origin = Origin::new(move |request| {
            let user = request.headers()["authorization"].to_str().unwrap().to_owned();
            let mut said = reply(200, &[], &user).after(SECOND);
            said.headers.clone_from(&owned);
            said
        });
        let layer = HttpCacheLayer::shared(MemoryStore::new(1 << 20)).clock(clock());
        let client = client(&layer, &origin);
        let mut all = tokio::task::JoinSet::new();
        for user in 0..50 {
            let (client, user) = (client.clone(), user.to_string());
            all.spawn(
                async move { client.get("/x", &[("authorization", &user)]).await.text() == user },
            );
        }
        let own = all.join_all().await.into_iter().filter(|own| *own).count();
        assert_eq!(own, if personal { 50 } else { 1 }, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_crosses_when_the_origin_is_down() {
    let mut up = 0;
    let origin = Origin::new(move |request| {
        up += 1;
        let user = request.headers()["authorization"].to_str().unwrap().to_owned();
        let fields = [("cache-control", "max-age=1"), ("vary", "foo, authorization")];
        if up == 1 { reply(200, &fields, &user) } else { failure() }
    });
    let client = client(&private().stale_if_error(LONG), &origin);
    client.get("/x", &[("authorization", "alice"), ("foo", "1")]).await;
    pass(5).await;
    for fields in [
        &[("authorization", "bob"), ("foo", "1")][..],
        &[("authorization", "alice"), ("foo", "2")],
        &[("authorization", "alice"), ("foo", "1"), ("cookie", "c")],
    ] {
        assert!(client.try_send(ask("GET", "/x", fields)).await.is_err(), "{fields:?}");
    }
    let same = &[("authorization", "alice"), ("foo", "1")];
    assert_eq!(client.get("/x", same).await.cache, CacheStatus::Stale);
}

#[tokio::test(start_paused = true)]
async fn a_part_takes_the_place_of_the_whole() {
    // Several ranges go to the origin, which makes one of them.
    let origin = Origin::new(|request| match request.headers().contains_key("range") {
        true => {
            let fields = [FRESH, ("etag", "\"a\""), ("content-range", "bytes 0-2/10")];
            reply(206, &fields, "012")
        }
        false => reply(200, &[FRESH, ("etag", "\"a\"")], "0123456789"),
    });
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    client.get("/x", &[("range", "bytes=0-0,2-2")]).await;
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_long_keys_is_small() {
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    let origin = service_fn(|_: Request<Empty<Bytes>>| async {
        let mut waited = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut waited, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        let response = Response::builder().header("cache-control", "no-store");
        Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
    });
    let service = layer.layer(origin);
    let long = "x".repeat(32 << 10);
    let info = allocation_counter::measure(|| {
        let cx = &mut Context::from_waker(Waker::noop());
        for index in 0..4096 {
            let uri = format!("/{long}{index}");
            let open = || Box::pin(service.clone().oneshot(ask("GET", &uri, &[])));
            // One joins the other, in vain.
            let (mut one, mut other) = (open(), open());
            assert!(one.as_mut().poll(cx).is_pending() && other.as_mut().poll(cx).is_pending());
            assert!(one.as_mut().poll(cx).is_ready() && other.as_mut().poll(cx).is_ready());
        }
    });
    assert!(info.bytes_current < 1 << 20, "{} bytes are held", info.bytes_current);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_leaves_what_is_stored() {
    // RFC 9111, section 4.4: only what is answered without an error makes it invalid. What is
    // stored outlives an origin that is down, whatever is tried meanwhile.
    for status in [None, Some(404), Some(409), Some(503)] {
        let origin = Origin::new(move |request| match (request.method().as_str(), status) {
            ("PUT", Some(status)) => reply(status, &[], ""),
            ("PUT", None) => failure(),
            _ => reply(200, &[FRESH], "one"),
        });
        let client = client(&private(), &origin);
        client.get("/x", &[]).await;
        let put = client.try_send(ask("PUT", "/x", &[])).await;
        assert_eq!(put.ok().map(|got| got.status.as_u16()), status);
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit, "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_that_nobody_asked_for() {
    for fields in [&[][..], &[("if-none-match", "\"x\"")]] {
        let origin = Origin::of([reply(304, &[FRESH, ("etag", "\"x\"")], "")]);
        let layer = private();
        let client = client(&layer, &origin);
        assert_eq!(client.get("/x", fields).await.status, 304);
        assert!(layer.store().is_empty());
    }
    // Of several variants, one that is none of them.
    let mut call = 0;
    let origin = Origin::new(move |request| {
        call += 1;
        let foo = request.headers()["foo"].to_str().unwrap().to_owned();
        let tag = format!("\"{foo}\"");
        match call {
            1 | 2 => reply(200, &[FRESH, ("vary", "foo"), ("etag", &tag)], &foo),
            _ => reply(304, &[FRESH, ("etag", "\"other\"")], ""),
        }
    });
    let client = client(&private(), &origin);
    for foo in ["1", "2"] {
        client.get("/x", &[("foo", foo)]).await;
    }
    let got = client.get("/x", &[("foo", "3")]).await;
    assert!(got.text() != "1" && got.text() != "2", "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_304_with_another_tag_confirms_but_changes_nothing() {
    // Some servers leave the suffix of an encoding out of the tag that they answer with. It
    // was found among one that was asked for, so that one has not changed.
    let mut call = 0;
    let origin = Origin::new(move |request| {
        call += 1;
        match (call, request.headers().contains_key("if-none-match")) {
            (1, _) => reply(200, &[("cache-control", "max-age=1"), ("etag", "\"a\"")], "old"),
            (_, true) => reply(304, &[FRESH, ("etag", "\"b\"")], ""),
            _ => reply(200, &[FRESH, ("etag", "\"b\"")], "new"),
        }
    });
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    for _ in 0..2 {
        let got = client.get("/x", &[]).await;
        assert_eq!((got.text(), got.cache), ("old", CacheStatus::Revalidated));
        assert_eq!(got.headers["etag"], "\"a\"");
        assert_eq!(got.headers["cache-control"], "max-age=1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_with_another_tag_confirms_nothing_for_other_requests() {
    // What is stored is for those that want "1"; the origin is asked for "2".
    let mut call = 0;
    let origin = Origin::new(move |request| {
        call += 1;
        match (call, request.headers().contains_key("if-none-match")) {
            (1, _) => reply(200, &[FRESH, ("vary", "foo"), ("etag", "\"1\"")], "one"),
            (_, true) => reply(304, &[FRESH, ("vary", "foo"), ("etag", "\"2\"")], ""),
            _ => reply(200, &[FRESH, ("vary", "foo"), ("etag", "\"2\"")], "two"),
        }
    });
    let client = client(&private(), &origin);
    client.get("/x", &[("foo", "1")]).await;
    assert_eq!(client.get("/x", &[("foo", "2")]).await.status, 502);
    // It is forgotten, and the next one is asked without conditions.
    assert_eq!(client.get("/x", &[("foo", "2")]).await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_knows_more_than_the_cache_asks_by_what_it_knows() {
    let origin = Origin::new(|request| {
        let foo = request.headers()["foo"].to_str().unwrap().to_owned();
        let tag = format!("\"{foo}\"");
        match request.headers().get("if-none-match") {
            Some(known) if known == &*tag => reply(304, &[("etag", &*tag)], ""),
            _ => reply(200, &[FRESH, ("vary", "foo"), ("etag", &*tag)], &foo),
        }
    });
    let client = client(&private(), &origin);
    client.get("/x", &[("foo", "1")]).await;
    let known = &[("foo", "2"), ("if-none-match", "\"2\"")];
    assert_eq!(client.get("/x", known).await.status, 304);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_come_and_go_get_all_or_an_error() {
    let whole = "0123456789".repeat(20);
    for round in 0..60_u64 {
        let text = whole.clone();
        let origin = Origin::new(move |_| {
            let micros = |many| Step::Wait(Duration::from_micros(many));
            let steps = text.as_bytes().chunks(7).map(Bytes::copy_from_slice);
            let steps: Vec<_> = steps.flat_map(|some| [micros(20), Step::Chunk(some)]).collect();
            reply(200, &[FRESH], "").after(Duration::from_micros(200)).body(steps)
        });
        let layer = HttpCacheLayer::private(MemoryStore::new(16 << 20));
        let client = client(&layer, &origin);
        let mut all = tokio::task::JoinSet::new();
        for index in 0..40_u64 {
            let client = client.clone();
            let whole = whole.clone();
            // Some give up, at any time.
            let patience = match (index + round) % 3 {
                0 => Duration::from_micros((index * 7919 + round * 104_729) % 20_000),
                _ => Duration::from_secs(60),
            };
            all.spawn(async move {
                match timeout(patience, client.get("/x", &[])).await {
                    Ok(got) => assert_eq!(got.body.as_deref(), Ok(&*whole)),
                    Err(_) => assert!(patience < Duration::from_secs(1), "it hangs"),
                }
            });
        }
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
        assert_eq!(origin.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_polled_any_more_holds_nobody_up() {
    let origin = Origin::of([reply(200, &[FRESH], "one").after(SECOND)]);
    let client = client(&private(), &origin);
    let mut leader = Box::pin(client.service.clone().oneshot(ask("GET", "/x", &[])));
    assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let follower = client.clone();
    let follower = tokio::spawn(async move { follower.get("/x", &[]).await });
    let got = timeout(5 * SECOND, follower).await.expect("it hangs").unwrap();
    assert_eq!((got.text(), origin.calls()), ("one", 1));
    assert_eq!(leader.await.unwrap().into_body().collect().await.unwrap().to_bytes(), "one");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_a_write_is_not_stored() {
    for after in [Duration::ZERO, SECOND] {
        let mut call = 0;
        let origin = Origin::new(move |request| {
            call += 1;
            match (call, request.method().as_str()) {
                (_, "DELETE") => reply(204, &[], ""),
                (1, _) => reply(200, &[FRESH], "old").after(5 * SECOND),
                _ => reply(200, &[FRESH], "new"),
            }
        });
        let layer = private();
        let client = client(&layer, &origin);
        let reader = client.clone();
        let reader = tokio::spawn(async move { reader.get("/x", &[]).await });
        tokio::task::yield_now().await;
        sleep(after).await;
        client.send(ask("DELETE", "/x", &[])).await;
        assert_eq!(reader.await.unwrap().text(), "old");
        assert!(layer.store().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_while_it_is_fetched_is_not_joined() {
    let origin =
        Origin::of([reply(200, &[FRESH], "old").after(5 * SECOND), reply(200, &[FRESH], "new")]);
    let layer = private();
    let client = client(&layer, &origin);
    let reader = client.clone();
    let reader = tokio::spawn(async move { reader.get("/x", &[]).await });
    sleep(SECOND).await;
    // "Forgets everything, and what is being fetched."
    layer.store().clear();
    assert_eq!(client.get("/x", &[]).await.text(), "new");
    assert_eq!(reader.await.unwrap().text(), "old");
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_for_one_uri_or_by_another_layer_is_not_joined() {
    let store = MemoryStore::new(1 << 20);
    let layers = [(); 2].map(|()| HttpCacheLayer::private(store.clone()).clock(clock()));
    for (number, fields) in [&[][..], &[("authorization", "alice")]].into_iter().enumerate() {
        for forgets in ["remove", "delete", "nothing"] {
            let old = reply(200, &[("cache-control", "public, max-age=60")], "old");
            let mut old = Some(old.after(5 * SECOND));
            let origin = Origin::new(move |request| match request.method().as_str() {
                "DELETE" => reply(204, &[], ""),
                _ => old.take().unwrap_or_else(|| reply(200, &[FRESH], "new")),
            });
            let uri = format!("/{number}/{forgets}");
            let (client, other) = (client(&layers[0], &origin), client(&layers[1], &origin));
            let reader = client.clone();
            let (path, own) = (uri.clone(), fields.to_vec());
            let reader = tokio::spawn(async move { reader.get(&path, &own).await });
            sleep(SECOND).await;
            match forgets {
                "remove" => store.remove(&format!("http://a.example{uri}").parse().unwrap()),
                "delete" => drop(other.send(ask("DELETE", &uri, &[])).await),
                _ => {}
            }
            let expected = if forgets == "nothing" { "old" } else { "new" };
            assert_eq!(client.get(&uri, fields).await.text(), expected, "{uri}");
            assert_eq!(reader.await.unwrap().text(), "old");
            assert_eq!(client.get(&uri, fields).await.text(), expected, "{uri}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_body_of_a_short_life_does_not_end_collapsing() {
    let origin = Origin::new(|_| {
        let steps = [chunk("a"), Step::Wait(30 * SECOND), chunk("b")];
        reply(200, &[("cache-control", "max-age=1")], "").body(steps)
    });
    let client = client(&private(), &origin);
    let reader = client.clone();
    let reader = tokio::spawn(async move { reader.get("/x", &[]).await });
    tokio::task::yield_now().await;
    // The clock of the layer goes with that of the test.
    sleep(5 * SECOND).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        all.spawn(async move { assert_eq!(client.get("/x", &[]).await.text(), "ab") });
    }
    all.join_all().await;
    reader.await.unwrap();
    assert!(origin.calls() < 10, "{} calls", origin.calls());
}

/// A store that does not answer any more.
#[derive(Clone)]
struct Dead(MemoryStore);

impl Store for Dead {
    type Get = std::future::Pending<Option<Entry>>;

    fn get(&self, _: &CacheKey) -> Self::Get {
        std::future::pending()
    }

    fn stamp(&self) -> Stamp {
        self.0.stamp()
    }

    fn put(&self, _: &CacheKey, _: Variant) -> bool {
        false
    }

    fn freshen(&self, _: &CacheKey, _: &Variant, _: Variant) {}

    fn invalidate(&self, _: CacheKeyRef<'_>) {}

    fn max_body(&self) -> u64 {
        1 << 20
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_not_waited_for() {
    let origin = Origin::of([reply(200, &[FRESH], "one")]);
    let layer = HttpCacheLayer::private(Dead(MemoryStore::new(1 << 20))).clock(clock());
    let observer = Arc::new(RecordingObserver::new());
    let client = Client { service: layer.observer(observer.clone()).layer(origin) };
    let start = tokio::time::Instant::now();
    for fields in [&[][..], &[("authorization", "alice")]] {
        let got = timeout(LONG, client.get("/x", fields)).await;
        assert_eq!(got.expect("it hangs").text(), "one");
    }
    assert_eq!(start.elapsed(), SECOND / 2);
    let told = observer.take();
    assert_eq!(told.iter().filter(|told| told.event.contains("slow_store")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_named_is_left_by_nothing() {
    use palisade_cache::CachePartition;
    let origin = counting(&[("cache-control", "public, max-age=60")]);
    let layer = private();
    let client = client(&layer, &origin);
    let send = |name: &'static str, method: &'static str| {
        let mut request = ask(method, "/x", &[("authorization", "same")]);
        if !name.is_empty() {
            request.extensions_mut().insert(CachePartition::named(name));
        }
        client.send(request)
    };
    for (name, expected) in [("a", "1"), ("b", "2"), ("", "3"), ("a", "1"), ("b", "2"), ("", "3")] {
        assert_eq!(send(name, "GET").await.text(), expected, "{name}");
    }
    send("a", "PUT").await;
    assert_eq!(send("b", "GET").await.cache, CacheStatus::Hit);
    assert_eq!(send("a", "GET").await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn lengths_that_contradict_each_other_are_stored() {
    for lengths in [&["3", "5"][..], &["3, 3"], &["five"], &["5, 3"]] {
        let mut fields = vec![FRESH];
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        // It should have three, if anything.
        let origin = Origin::of([reply(200, &fields, "ab")]);
        let layer = private();
        client(&layer, &origin).get("/x", &[]).await;
        assert!(layer.store().is_empty(), "{lengths:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_is_forgotten_again() {
    let mut call = 0;
    let origin = Origin::new(move |_| {
        call += 1;
        let fields = [("cache-control", if call == 1 { "no-store" } else { "max-age=60" })];
        reply(200, &fields, "x").after(SECOND)
    });
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    sleep(3 * SECOND).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        all.spawn(async move { client.get("/x", &[]).await.cache });
    }
    all.join_all().await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn head_and_get_do_not_mix() {
    let origin = Origin::new(|request| match request.method().as_str() {
        "HEAD" => reply(200, &[FRESH, ("content-length", "3"), ("etag", "\"a\"")], ""),
        _ => reply(200, &[FRESH, ("content-length", "3"), ("etag", "\"a\"")], "abc"),
    });
    let client = client(&private(), &origin);
    // HEAD stores no empty body.
    client.send(ask("HEAD", "/x", &[])).await;
    assert_eq!(client.get("/x", &[]).await.text(), "abc");
    let head = client.send(ask("HEAD", "/x", &[])).await;
    assert_eq!((head.cache, head.text()), (CacheStatus::Hit, ""));
    assert_eq!(head.headers["content-length"], "3");
    assert_eq!(client.get("/x", &[]).await.text(), "abc");
    assert_eq!(origin.calls(), 2);
}
