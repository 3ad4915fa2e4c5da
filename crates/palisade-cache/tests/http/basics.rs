use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use palisade_cache::{CacheStatus, HttpCacheLayer, MemoryStore};
use tower::{ServiceExt, limit::ConcurrencyLimitLayer};

use crate::support::{Origin, Step, ask, chunk, client, clock, failure, pass, private, reply};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test(start_paused = true)]
async fn a_response_is_stored_and_used() {
    let origin = Origin::of([reply(200, &[FRESH], "").body([chunk("o"), chunk("ne")])]);
    let client = client(&private(), &origin);
    for (status, age) in [(CacheStatus::Miss, None), (CacheStatus::Hit, Some("7"))] {
        let got = client.get("/x", &[]).await;
        assert_eq!((got.text(), got.cache), ("one", status));
        assert_eq!(got.headers.get("age").map(|age| age.to_str().unwrap()), age);
        pass(7).await;
    }
    pass(60).await;
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_complete_is_stored() {
    let trailers = || {
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", HeaderValue::from_static("1"));
        Step::Trailers(trailers)
    };
    const FOUR: (&str, &str) = ("content-length", "4");
    for (fields, steps, stored) in [
        (&[FRESH][..], vec![], true),
        (&[FRESH], vec![chunk("ab"), chunk("cd")], true),
        (&[FRESH], vec![chunk("ab"), trailers()], true),
        (&[FRESH], vec![chunk("ab"), Step::Fail], false),
        (&[FRESH], vec![Step::Fail], false),
        (&[FRESH, FOUR], vec![chunk("ab"), chunk("cd")], true),
        (&[FRESH, FOUR], vec![chunk("ab")], false),
        (&[FRESH, FOUR], vec![chunk("abcde")], false),
        (&[FRESH, ("content-length", "4, 4")], vec![chunk("ab")], false),
        (&[FRESH, ("content-length", "2, 2")], vec![chunk("ab")], true),
        (&[], vec![chunk("ab")], false),
        (&[("cache-control", "no-store")], vec![chunk("ab")], false),
    ] {
        let origin = Origin::of([reply(200, fields, "").body(steps.clone())]);
        let client = client(&private(), &origin);
        let first = client.get("/x", &[]).await;
        assert_eq!(first.body.is_err(), matches!(steps.last(), Some(Step::Fail)), "{fields:?}");
        client.get("/x", &[]).await;
        assert_eq!(origin.calls(), if stored { 1 } else { 2 }, "{fields:?}");
        assert_eq!(origin.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_passed_on() {
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", HeaderValue::from_static("1"));
    let body = [chunk("ab"), Step::Trailers(trailers.clone())];
    let client = client(&private(), &Origin::of([reply(200, &[FRESH], "").body(body)]));
    let response = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
}

#[tokio::test(start_paused = true)]
async fn a_miss_streams() {
    let body = [chunk("a"), Step::Wait(Duration::from_secs(5)), chunk("b")];
    let origin = Origin::of([reply(200, &[FRESH], "").body(body)]);
    let client = client(&private(), &origin);
    let start = tokio::time::Instant::now();
    let response = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    // Half of it was read, and the rest never will be.
    drop(body);
    assert_eq!(origin.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_passes_unstored() {
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20).max_body(1000)).clock(clock());
    for (size, said, stored) in
        [(1000, false, true), (1001, false, false), (1000, true, true), (1001, true, false)]
    {
        let length = size.to_string();
        let fields = [FRESH, ("content-length", length.as_str())];
        let fields = if said { &fields[..] } else { &fields[..1] };
        let steps = vec![Step::Chunk(Bytes::from(vec![b'x'; 100])); size / 100]
            .into_iter()
            .chain([Step::Chunk(Bytes::from(vec![b'x'; size % 100]))]);
        let origin = Origin::of([reply(200, fields, "").body(steps)]);
        let client = client(&layer, &origin);
        let uri = format!("/{size}{said}");
        for _ in 0..2 {
            assert_eq!(client.get(&uri, &[]).await.text().len(), size);
        }
        assert_eq!(origin.calls(), if stored { 1 } else { 2 }, "{size} {said}");
    }
    assert!(layer.store().weight() <= 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_a_504_and_no_call() {
    let origin = Origin::of([reply(200, &[FRESH], "one")]);
    let client = client(&private(), &origin);
    const ONLY: &[(&str, &str)] = &[("cache-control", "only-if-cached")];
    assert_eq!(client.get("/x", ONLY).await.status, StatusCode::GATEWAY_TIMEOUT);
    client.get("/x", &[]).await;
    assert_eq!(client.get("/x", ONLY).await.text(), "one");
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_arrives_as_it_is_and_nothing_is_stored() {
    let origin = Origin::of([failure(), reply(200, &[FRESH], "one")]);
    let client = client(&private(), &origin);
    let error = client.try_send(ask("GET", "/x", &[])).await.unwrap_err();
    assert!(error.downcast_ref::<std::io::Error>().is_some());
    assert_eq!(client.get("/x", &[]).await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn hits_pass_while_a_limit_below_is_exhausted() {
    let hangs = Duration::from_secs(1000);
    let origin = Origin::new(move |request| match request.uri().path() {
        "/slow" => reply(200, &[FRESH], "slow").after(hangs),
        _ => reply(200, &[FRESH], "fast"),
    });
    let stack = tower::ServiceBuilder::new()
        .layer(private())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let client = crate::support::Client { service: stack };
    // Several of them one after the other: nobody keeps the permit.
    for uri in ["/a", "/b", "/a", "/c"] {
        assert_eq!(client.get(uri, &[]).await.text(), "fast");
    }
    let slow = client.clone();
    let slow = tokio::spawn(async move { slow.get("/slow", &[]).await });
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    assert_eq!(client.get("/a", &[]).await.cache, CacheStatus::Hit);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(client.get("/d", &[]).await.text(), "fast");
    assert_eq!(start.elapsed(), hangs);
    assert_eq!(slow.await.unwrap().text(), "slow");
}

#[tokio::test(start_paused = true)]
async fn streams_and_other_methods_pass() {
    let event = [FRESH, ("content-type", "text/event-stream")];
    for (method, fields) in [("GET", &event[..]), ("OPTIONS", &[FRESH]), ("TRACE", &[FRESH])] {
        let origin = Origin::of([reply(200, fields, "x")]);
        let client = client(&private(), &origin);
        for _ in 0..2 {
            client.send(ask(method, "/x", &[])).await;
        }
        assert_eq!(origin.calls(), 2, "{method}");
    }
}
