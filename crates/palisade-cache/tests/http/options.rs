use std::{sync::Arc, time::Duration};

use http::StatusCode;
use palisade_cache::{CacheMode, CacheStatus, HttpCacheLayer, MemoryStore, Route, RouteTtl};
use palisade_testkit::RecordingObserver;

use crate::support::{Origin, ask, client, clock, pass, private, reply};

#[tokio::test(start_paused = true)]
async fn a_route_says_how_long_responses_live() {
    let seconds = Duration::from_secs;
    for (ttl, control, after, status) in [
        (RouteTtl::Force(seconds(9)), "no-store", 8, CacheStatus::Hit),
        (RouteTtl::Force(seconds(9)), "max-age=60", 10, CacheStatus::Miss),
        (RouteTtl::Default(seconds(9)), "x", 8, CacheStatus::Hit),
        (RouteTtl::Default(seconds(9)), "max-age=60", 50, CacheStatus::Hit),
        (RouteTtl::Cap(seconds(9)), "max-age=60", 10, CacheStatus::Miss),
    ] {
        let origin = Origin::of([reply(200, &[("cache-control", control)], "one")]);
        let client = client(&private().route(Route::prefix("/").ttl(ttl)), &origin);
        client.get("/x", &[]).await;
        pass(after).await;
        assert_eq!(client.get("/x", &[]).await.cache, status, "{ttl:?} {control}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_says_which_statuses_are_stored() {
    let route = Route::matching(|head| head.uri.path() == "/x")
        .negative(StatusCode::FORBIDDEN, Duration::from_secs(5))
        .statuses([StatusCode::FORBIDDEN]);
    for (status, fields, expected) in [
        (403, &[][..], CacheStatus::Hit),
        (200, &[("cache-control", "max-age=60")], CacheStatus::Miss),
    ] {
        let origin = Origin::of([reply(status, fields, "one")]);
        let client = client(&private().route(route.clone()), &origin);
        client.get("/x", &[]).await;
        assert_eq!(client.get("/x", &[]).await.cache, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn modes_are_those_of_fetch() {
    for (mode, fresh, stale, stored) in [
        (CacheMode::Default, CacheStatus::Hit, CacheStatus::Revalidated, true),
        (CacheMode::NoStore, CacheStatus::Bypass, CacheStatus::Bypass, false),
        (CacheMode::Reload, CacheStatus::Miss, CacheStatus::Miss, true),
        (CacheMode::NoCache, CacheStatus::Revalidated, CacheStatus::Revalidated, true),
        (CacheMode::ForceCache, CacheStatus::Hit, CacheStatus::Stale, true),
        (CacheMode::OnlyIfCached, CacheStatus::Hit, CacheStatus::Stale, true),
    ] {
        let fields = [("cache-control", "max-age=5"), ("etag", "\"a\"")];
        let origin = Origin::new(move |request| match request.headers().get("if-none-match") {
            Some(_) => reply(304, &[], ""),
            None => reply(200, &fields, "one"),
        });
        let layer = private();
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        for (after, expected) in [(0, fresh), (10, stale)] {
            pass(after).await;
            let mut request = ask("GET", "/x", &[]);
            request.extensions_mut().insert(mode);
            assert_eq!(client.send(request).await.cache, expected, "{mode:?} {after}");
        }
        layer.store().clear();
        let mut request = ask("GET", "/x", &[]);
        request.extensions_mut().insert(mode);
        client.send(request).await;
        assert_eq!(!layer.store().is_empty(), stored && mode != CacheMode::OnlyIfCached);
    }
}

#[tokio::test(start_paused = true)]
async fn says_what_was_done_if_it_has_a_name() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=5, stale-if-error=9");
    let origin = Origin::of([
        reply(200, &[FRESH, ("etag", "\"a\"")], "one"),
        reply(304, &[], ""),
        reply(503, &[], ""),
        reply(200, &[("cache-control", "no-store")], ""),
    ]);
    let client = client(&private().cache_status("me"), &origin);
    for (after, expected) in [
        (0, "me; fwd=uri-miss; stored; ttl=5"),
        (2, "me; hit; ttl=3"),
        (10, "me; fwd=stale; fwd-status=304; stored; ttl=5"),
        (6, "me; fwd=stale; fwd-status=503; ttl=-1"),
        (9, "me; fwd=stale; detail=no-store"),
    ] {
        pass(after).await;
        assert_eq!(client.get("/x", &[]).await.headers["cache-status"], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn says_why_a_request_went_on_and_why_nothing_is_stored() {
    const CONTROL: &str = "cache-control";
    let route = Route::prefix("/ok").statuses([StatusCode::OK]);
    let layer = private().cache_status("me").route(route);
    for (method, uri, mode, fields, expected) in [
        ("OPTIONS", "/x", CacheMode::Default, &[][..], "me; fwd=method"),
        ("PUT", "/x", CacheMode::Default, &[], "me; fwd=method"),
        ("POST", "/x", CacheMode::Default, &[], "me; fwd=method; detail=method"),
        ("GET", "/x", CacheMode::NoStore, &[], "me; fwd=bypass"),
        ("GET", "/x", CacheMode::Default, &[("vary", "*")], "me; fwd=uri-miss; detail=vary"),
        ("GET", "/x", CacheMode::Default, &[], "me; fwd=uri-miss; detail=of-no-use"),
        (
            "GET",
            "/x",
            CacheMode::Reload,
            &[(CONTROL, "max-age=9")],
            "me; fwd=request; stored; ttl=9",
        ),
        (
            "GET",
            "/y",
            CacheMode::Default,
            &[(CONTROL, "max-age=9"), ("content-length", "99999999")],
            "me; fwd=uri-miss; detail=too-large",
        ),
        (
            "GET",
            "/z",
            CacheMode::Default,
            &[(CONTROL, "max-age=9"), ("content-length", "1, 2")],
            "me; fwd=uri-miss; detail=length",
        ),
    ] {
        let client = client(&layer, &Origin::of([reply(200, fields, "one")]));
        let mut request = ask(method, uri, &[]);
        request.extensions_mut().insert(mode);
        assert_eq!(client.send(request).await.headers["cache-status"], expected);
    }
    let refused = client(&layer, &Origin::of([reply(404, &[(CONTROL, "max-age=9")], "")]));
    let got = refused.get("/ok", &[]).await;
    assert_eq!(got.headers["cache-status"], "me; fwd=uri-miss; detail=status");
    // What the cache makes itself is nobody's response.
    let mut request = ask("GET", "/none", &[]);
    request.extensions_mut().insert(CacheMode::OnlyIfCached);
    assert!(!refused.send(request).await.headers.contains_key("cache-status"));
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told() {
    let observer = Arc::new(RecordingObserver::new());
    let fields = [("cache-control", "max-age=5, stale-if-error=9"), ("etag", "\"a\"")];
    let origin = Origin::of([
        reply(200, &fields, "one"),
        reply(304, &[], ""),
        reply(503, &[], ""),
        reply(200, &[], ""),
    ]);
    let client = client(&private().observer(observer.clone()), &origin);
    for (after, expected) in [
        (0, &["miss", "stored"][..]),
        (1, &["hit"]),
        (10, &["revalidated"]),
        (10, &["stale"]),
        (20, &["miss"]),
    ] {
        pass(after).await;
        client.get("/x", &[]).await;
        let told = observer.take();
        let events: Vec<_> = told.iter().map(|told| told.event.as_str()).collect();
        let expected: Vec<_> =
            expected.iter().map(|status| format!("Cache {{ status: {status:?} }}")).collect();
        assert_eq!(events, expected);
        assert!(told.iter().all(|told| told.authority.as_deref() == Some("a.example")));
    }
    client.send(ask("OPTIONS", "/x", &[])).await;
    assert_eq!(observer.take()[0].event, "Cache { status: \"bypass\" }");
    let origin = Origin::of([reply(200, &fields, "one").after(Duration::from_secs(1))]);
    let client = crate::support::client(&private().observer(observer.clone()), &origin);
    tokio::join!(client.get("/x", &[]), client.get("/x", &[]));
    let mut events: Vec<_> = observer.take().into_iter().map(|told| told.event).collect();
    events.sort_unstable();
    let expected = ["collapsed", "miss", "stored"];
    assert_eq!(events, expected.map(|status| format!("Cache {{ status: {status:?} }}")));
}

#[tokio::test(start_paused = true)]
async fn a_shared_cache_obeys_what_is_said_to_it_alone() {
    let shared = || HttpCacheLayer::shared(MemoryStore::new(1 << 20)).clock(clock());
    for (cdn, control, in_shared, in_private) in [
        ("max-age=60", "no-store", CacheStatus::Hit, CacheStatus::Miss),
        ("max-age=60", "max-age=1", CacheStatus::Hit, CacheStatus::Miss),
        ("no-store", "max-age=60", CacheStatus::Miss, CacheStatus::Hit),
        ("private", "max-age=60", CacheStatus::Miss, CacheStatus::Hit),
        // Not a structured field.
        ("max-age=\"60", "max-age=60", CacheStatus::Hit, CacheStatus::Hit),
        ("max-age=60", "s-maxage=1, max-age=1", CacheStatus::Hit, CacheStatus::Miss),
    ] {
        let fields = [("cdn-cache-control", cdn), ("cache-control", control)];
        let origin = Origin::of([reply(200, &fields, "one")]);
        let client = client(&shared(), &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        assert_eq!(client.get("/x", &[]).await.cache, in_shared, "{cdn} {control}");
        let client = crate::support::client(&private(), &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        assert_eq!(client.get("/x", &[]).await.cache, in_private, "{cdn} {control}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_about_the_connection_is_not_stored_and_cookies_only_if_wanted() {
    let fields = [
        ("cache-control", "public, max-age=60"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("set-cookie", "a=b"),
        ("x-end", "1"),
    ];
    let shared = || HttpCacheLayer::shared(MemoryStore::new(1 << 20)).clock(clock());
    for (layer, cookies) in [(shared(), false), (shared().store_cookies(true), true)] {
        let client = client(&layer, &Origin::of([reply(200, &fields, "one")]));
        let miss = client.get("/x", &[]).await;
        assert!(fields.iter().all(|(name, _)| miss.headers.contains_key(*name)));
        let hit = client.get("/x", &[]).await;
        let kept = |name: &str| hit.headers.contains_key(name);
        assert!(kept("x-end") && kept("date") && kept("age"));
        assert!(!kept("x-hop") && !kept("connection") && !kept("keep-alive"));
        assert_eq!(kept("set-cookie"), cookies);
    }
}
