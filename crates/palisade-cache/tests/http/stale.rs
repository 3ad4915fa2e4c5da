use std::time::Duration;

use palisade_cache::{CacheStatus, Collapse, HttpCacheLayer, MemoryStore, background_fn};

use crate::support::{Origin, ask, client, clock, failure, pass, private, reply};

#[tokio::test(start_paused = true)]
async fn stale_is_served_while_it_is_revalidated_in_the_background() {
    let fields = [("cache-control", "max-age=4, stale-while-revalidate=9"), ("etag", "\"a\"")];
    let slow = Duration::from_secs(3);
    let origin = Origin::of([reply(200, &fields, "one"), reply(200, &fields, "two").after(slow)]);
    let layer = private().background(background_fn(|work| {
        tokio::spawn(work);
    }));
    let client = client(&layer, &origin);
    client.get("/x", &[]).await;
    pass(6).await;
    // Several, of which one is enough to ask.
    for fields in [&[][..], &[], &[("range", "bytes=0-0")]] {
        let start = tokio::time::Instant::now();
        let got = client.get("/x", fields).await;
        assert_eq!((got.cache, start.elapsed()), (CacheStatus::Stale, Duration::ZERO));
        assert!("one".starts_with(got.text()));
    }
    tokio::time::sleep(slow).await;
    assert_eq!(origin.calls(), 2);
    assert_eq!(origin.last().get("if-none-match").unwrap(), "\"a\"");
    assert!(!origin.last().contains_key("range"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, got.text()), (CacheStatus::Hit, "two"));
}

#[tokio::test(start_paused = true)]
async fn without_a_background_it_is_revalidated_first() {
    let fields = [("cache-control", "max-age=1, stale-while-revalidate=9"), ("etag", "\"a\"")];
    let origin = Origin::of([reply(200, &fields, "one"), reply(304, &[], "")]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, got.text()), (CacheStatus::Revalidated, "one"));
}

#[tokio::test(start_paused = true)]
async fn stale_is_better_than_an_error_for_as_long_as_is_said() {
    for (control, seconds, stale) in [
        ("max-age=1", 31, true),
        ("max-age=1", 32, false),
        ("max-age=1, stale-if-error=5", 6, true),
        ("max-age=1, stale-if-error=5", 7, false),
        ("max-age=1, stale-if-error=0", 2, false),
        ("max-age=1, must-revalidate", 2, false),
        ("max-age=1, proxy-revalidate", 2, true),
    ] {
        for down in [failure(), reply(500, &[], ""), reply(502, &[], ""), reply(504, &[], "")] {
            let origin = Origin::of([reply(200, &[("cache-control", control)], "one"), down]);
            let layer = private().stale_if_error(Duration::from_secs(30));
            let client = client(&layer, &origin);
            client.get("/x", &[]).await;
            pass(seconds).await;
            let got = client.try_send(ask("GET", "/x", &[])).await;
            let served = got.is_ok_and(|got| got.body.as_deref() == Ok("one"));
            assert_eq!(served, stale, "{control} {seconds}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_no_failure_of_the_origin_is_not_replaced() {
    let fields = [("cache-control", "max-age=1")];
    for status in [400, 404, 501, 429] {
        let origin = Origin::of([reply(200, &fields, "one"), reply(status, &[], "")]);
        let layer = private().stale_if_error(Duration::from_secs(30));
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        pass(5).await;
        assert_eq!(client.get("/x", &[]).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_call_gets_what_is_stale_and_none_is_made() {
    let fields = [("cache-control", "max-age=1, stale-while-revalidate=9")];
    let origin = Origin::of([reply(200, &fields, "one")]);
    let background = background_fn(|work| {
        tokio::spawn(work);
    });
    for layer in [private(), private().background(background)] {
        let client = client(&layer, &origin);
        client.get("/x", &[]).await;
        let calls = origin.calls();
        pass(5).await;
        let got = client.get("/x", &[("cache-control", "only-if-cached")]).await;
        assert_eq!((got.cache, got.text()), (CacheStatus::Stale, "one"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(origin.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn one_revalidation_is_enough_even_where_requests_do_not_collapse() {
    let fields = [("cache-control", "max-age=9, stale-while-revalidate=9")];
    let slow = Duration::from_secs(1);
    let origin = Origin::of([reply(200, &fields, "one"), reply(200, &fields, "two").after(slow)]);
    let background = background_fn(|work| {
        tokio::spawn(work);
    });
    let layer = private().collapse(Collapse::off()).background(background);
    let client = client(&layer, &origin);
    client.get("/x", &[]).await;
    pass(12).await;
    for _ in 0..10 {
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Stale);
    }
    tokio::time::sleep(2 * slow).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_shared_cache_serves_nothing_stale_against_what_is_said_to_it() {
    for (directive, stale) in [
        ("public", true),
        ("proxy-revalidate", false),
        ("s-maxage=1", false),
        ("must-revalidate", false),
        ("no-cache", false),
    ] {
        let control = format!("max-age=1, stale-if-error=9, {directive}");
        for down in [failure(), reply(503, &[], "")] {
            let fields = [("cache-control", control.as_str()), ("etag", "\"a\"")];
            let origin = Origin::of([reply(200, &fields, "one"), down]);
            let layer = HttpCacheLayer::shared(MemoryStore::new(1 << 20)).clock(clock());
            let client = client(&layer, &origin);
            client.get("/x", &[]).await;
            pass(2).await;
            let got = client.try_send(ask("GET", "/x", &[])).await;
            let served = got.is_ok_and(|got| got.body.as_deref() == Ok("one"));
            assert_eq!(served, stale, "{directive}");
        }
    }
}
