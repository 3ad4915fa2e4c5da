//! What goes wrong elsewhere: five defects of http-cache-tower 1.0.0-alpha.9.

use http::StatusCode;
use palisade_cache::CacheStatus;
use palisade_core::WallClock;
use tower::Layer;

use crate::support::{Client, Origin, ask, client, clock, failure, pass, private, reply};

#[tokio::test(start_paused = true)]
async fn bob_does_not_get_what_alice_got_when_the_origin_is_down() {
    let alice = [("authorization", "alice")];
    let vary = [("cache-control", "private, max-age=1"), ("vary", "Authorization")];
    let plain = [("cache-control", "max-age=1")];
    for fields in [&vary[..], &plain] {
        let origin = Origin::of([reply(200, fields, "alice's"), failure()]);
        let layer = private().stale_if_error(std::time::Duration::from_secs(60));
        let client = client(&layer, &origin);
        client.get("/x", &alice).await;
        pass(5).await;
        assert_eq!(client.get("/x", &alice).await.text(), "alice's");
        for other in [&[("authorization", "bob")][..], &[], &[("cookie", "alice")]] {
            let got = client.try_send(ask("GET", "/x", other)).await;
            assert!(got.is_err(), "{other:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_be_revalidated_is_not_served_in_place_of_a_503() {
    for (directive, is_stale) in
        [("must-revalidate", false), ("no-cache", false), ("stale-if-error=9", true)]
    {
        let control = format!("max-age=1, {directive}");
        let fields = [("cache-control", control.as_str()), ("etag", "\"a\"")];
        let origin = Origin::of([reply(200, &fields, "one"), reply(503, &[], "down")]);
        let client = client(&private(), &origin);
        client.get("/x", &[]).await;
        pass(2).await;
        let got = client.get("/x", &[]).await;
        assert_eq!(got.status == StatusCode::OK, is_stale, "{directive}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hit_leaves_the_date_as_it_is() {
    let date = httpdate::fmt_http_date(clock().now());
    let fields = [("cache-control", "max-age=60"), ("date", date.as_str())];
    let client = client(&private(), &Origin::of([reply(200, &fields, "one")]));
    client.get("/x", &[]).await;
    pass(9).await;
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, got.headers["date"].to_str().unwrap()), (CacheStatus::Hit, &*date));
}

#[tokio::test(start_paused = true)]
async fn misses_at_once_are_one_call() {
    let slow = reply(200, &[("cache-control", "max-age=60")], "one");
    let origin = Origin::of([slow.after(std::time::Duration::from_secs(1))]);
    let client = client(&private(), &origin);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let client = client.clone();
        all.spawn(async move { assert_eq!(client.get("/x", &[]).await.text(), "one") });
    }
    all.join_all().await;
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_is_no_deadlock() {
    let origin = Origin::of([reply(200, &[("cache-control", "no-store")], "one")]);
    let limit = tower::limit::ConcurrencyLimitLayer::new(1);
    let client = Client { service: private().layer(limit.layer(origin.clone())) };
    for calls in 1..4 {
        assert_eq!(client.get("/x", &[]).await.text(), "one");
        assert_eq!(origin.calls(), calls);
    }
}
