use std::time::Duration;

use http::header::ACCEPT;
use palisade_cache::{CacheStatus, HttpCacheLayer, MemoryStore, Route, background_fn};
use tokio::{
    task::JoinSet,
    time::{Instant, advance},
};

use crate::support::{Origin, client, clock, private, reply};

const NO_STORE: (&str, &str) = ("cache-control", "no-store");
const FRESH: (&str, &str) = ("cache-control", "max-age=600");
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn who_asks_all_the_time_for_what_is_not_stored_waits_for_others_once() {
    let latency = Duration::from_millis(100);
    let origin = Origin::new(move |_| reply(200, &[NO_STORE], "x").after(latency));
    let client = client(&private(), &origin);
    let (start, rounds, callers) = (Instant::now(), 100, 8);
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let client = client.clone();
        all.spawn(async move {
            for _ in 0..rounds {
                assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
            }
        });
    }
    all.join_all().await;
    assert_eq!(origin.calls(), rounds * callers);
    // The first answer is waited for in vain, and none after that.
    let took = start.elapsed().as_millis() / latency.as_millis();
    assert_eq!(took, rounds as u128 + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_from_now_on_is_lost_once_at_most() {
    for (pause, misses) in [(Duration::ZERO, 3), (SECOND, 2)] {
        let origin = Origin::of([reply(200, &[NO_STORE], "x"), reply(200, &[FRESH], "y")]);
        let client = client(&private(), &origin);
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
        advance(pause).await;
        let mut found = Vec::new();
        for _ in 0..4 {
            found.push(client.get("/x", &[]).await.cache);
        }
        assert_eq!(found[3], CacheStatus::Hit);
        assert_eq!(origin.calls(), misses);
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_by_is_heard_if_it_could_have_been_stored_whatever_its_status() {
    let stale = private().stale_if_error(SECOND);
    for (layer, status, fields, misses) in [
        (private(), 404, &[FRESH][..], 3),
        (private(), 404, &[("etag", "\"a\"")], 3),
        (private(), 301, &[FRESH], 3),
        (private(), 503, &[FRESH], 3),
        (stale.clone(), 404, &[], 3),
        // None of these is stored, so the next answer that is goes by as well.
        (private(), 404, &[], 4),
        (private(), 404, &[NO_STORE], 4),
        (private(), 404, &[("cache-control", "no-cache")], 4),
        (private(), 500, &[], 4),
        (stale, 500, &[], 4),
        (private(), 200, &[("cache-control", "no-cache")], 4),
    ] {
        let first = [reply(200, &[NO_STORE], "x"), reply(status, fields, "y")];
        let origin = Origin::of(first.into_iter().chain([reply(200, &[FRESH], "z")]));
        let client = client(&layer, &origin);
        let uri = format!("/{status}/{}", fields.len());
        let mut found = Vec::new();
        for _ in 0..5 {
            found.push(client.get(&uri, &[]).await.cache);
        }
        assert_eq!(found[4], CacheStatus::Hit);
        assert_eq!(origin.calls(), misses, "{status} {fields:?}");
    }
}

// Only what was meant: the next answer may well be another one.
#[tokio::test(start_paused = true)]
async fn the_next_answer_is_stored_after_a_failure_and_where_answers_vary() {
    for (status, fields) in [
        (500, &[NO_STORE][..]),
        (404, &[NO_STORE]),
        (200, &[NO_STORE, ("vary", "accept")]),
        (200, &[("vary", "*")]),
    ] {
        let origin = Origin::of([reply(status, fields, "x"), reply(200, &[FRESH], "y")]);
        let client = client(&private(), &origin);
        for status in [CacheStatus::Miss, CacheStatus::Miss, CacheStatus::Hit] {
            assert_eq!(client.get("/x", &[]).await.cache, status, "{fields:?}");
        }
    }
}

// It was never fresh, and yet it is given while it is renewed, or in place of an error.
#[tokio::test(start_paused = true)]
async fn what_says_nothing_is_stored_where_the_layer_gives_what_is_stale() {
    let minute = Duration::from_secs(60);
    let layer = || HttpCacheLayer::private(MemoryStore::new(1 << 20).max_body(9)).clock(clock());
    let spawn = background_fn(|work| {
        tokio::spawn(work);
    });
    for (layer, instead) in [
        (layer().stale_if_error(minute), reply(503, &[], "z")),
        (layer().stale_while_revalidate(minute).background(spawn), reply(200, &[], "z")),
    ] {
        for (first, lost) in [
            // There is no room for it, but for the next one.
            (reply(200, &[("content-length", "10")], "0123456789"), 0),
            // The next one goes by.
            (reply(200, &[NO_STORE], "x"), 1),
        ] {
            let replies =
                [vec![first], vec![reply(200, &[], "y"); lost + 1], vec![instead.clone()]];
            let client = client(&layer, &Origin::of(replies.concat()));
            let uri = format!("/{lost}");
            for _ in 0..lost + 2 {
                assert_eq!(client.get(&uri, &[]).await.cache, CacheStatus::Miss);
            }
            let got = client.get(&uri, &[]).await;
            assert_eq!((got.text(), got.cache), ("y", CacheStatus::Stale), "{lost}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_answer_is_stored_where_a_route_says_that_answers_vary() {
    let origin = Origin::new(|request| {
        let stored = request.headers().get("accept").is_some_and(|kind| kind == "b");
        reply(200, &[if stored { FRESH } else { NO_STORE }], "x")
    });
    let layer = private().route(Route::prefix("/x").add_vary([ACCEPT]));
    let client = client(&layer, &origin);
    for (kind, status) in
        [("a", CacheStatus::Miss), ("b", CacheStatus::Miss), ("b", CacheStatus::Hit)]
    {
        assert_eq!(client.get("/x", &[("accept", kind)]).await.cache, status, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_something_special_is_looked_at() {
    for fields in [("cache-control", "no-cache"), ("if-none-match", "\"a\"")] {
        let origin = Origin::of([reply(200, &[NO_STORE], "x"), reply(200, &[FRESH], "y")]);
        let client = client(&private(), &origin);
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
        assert_eq!(client.get("/x", &[fields]).await.cache, CacheStatus::Miss);
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit, "{fields:?}");
    }
}

// However many ask in the other way, and however seldom somebody asks in this one.
#[tokio::test(start_paused = true)]
async fn what_some_may_store_is_stored_although_most_may_not() {
    for pause in [Duration::from_millis(1), Duration::from_millis(400)] {
        let origin = Origin::new(|request| {
            let personal = request.headers().contains_key("authorization");
            reply(200, &[if personal { NO_STORE } else { FRESH }], "x")
        });
        let client = client(&HttpCacheLayer::shared(MemoryStore::new(1 << 20)), &origin);
        let mut found = Vec::new();
        for _ in 0..4 {
            for _ in 0..9 {
                client.get("/x", &[("authorization", "alice")]).await;
                advance(pause).await;
            }
            found.push(client.get("/x", &[]).await.cache);
        }
        // The first may have been looked at.
        let hits = found.iter().skip_while(|status| **status == CacheStatus::Miss).count();
        assert!(2 <= hits, "{found:?}");
    }
}

// Some servers of one name have been told to, and others not yet.
#[tokio::test(start_paused = true)]
async fn what_is_said_now_and_then_is_heard() {
    let mut calls = 0;
    let origin = Origin::new(move |_| {
        calls += 1;
        reply(200, &[if calls % 5 == 0 { FRESH } else { NO_STORE }], "x")
    });
    let client = client(&private(), &origin);
    for _ in 0..99 {
        client.get("/x", &[]).await;
    }
    assert_eq!(origin.calls(), 10);
}

// It is known of each partition, and each URI, by itself.
#[tokio::test(start_paused = true)]
async fn nobody_else_is_passed() {
    let origin = Origin::new(|request| {
        let of_alice = request.headers().get("authorization").is_some_and(|user| user == "alice");
        let stored = request.uri().path() == "/y" || of_alice;
        reply(200, &[if stored { FRESH } else { NO_STORE }], "x")
    });
    let client = client(&private(), &origin);
    let (alice, bob) = (("authorization", "alice"), ("authorization", "bob"));
    assert_eq!(client.get("/x", &[bob]).await.cache, CacheStatus::Miss);
    for (uri, fields) in [("/x", &[alice][..]), ("/y", &[bob])] {
        assert_eq!(client.get(uri, fields).await.cache, CacheStatus::Miss);
        assert_eq!(client.get(uri, fields).await.cache, CacheStatus::Hit);
    }
}
