use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use palisade_cache::{CachePartition, CacheStatus, HttpCacheLayer, InMemory, MemoryStore, Route};
use palisade_core::Identity;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Ask, Origin, ask, client, clock, private, reply};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Answers with the number of the call.
fn counting(fields: &'static [(&'static str, &'static str)]) -> Origin {
    let mut calls = 0;
    Origin::new(move |_| {
        calls += 1;
        reply(200, fields, &calls.to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn a_private_cache_keeps_users_apart() {
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    let users: &[&[(&str, &str)]] = &[
        &[],
        &[("authorization", "a")],
        &[("authorization", "b")],
        &[("cookie", "a")],
        &[("authorization", "a"), ("cookie", "a")],
    ];
    for _ in 0..2 {
        for (user, expected) in users.iter().zip(["1", "2", "3", "4", "5"]) {
            assert_eq!(client.get("/x", user).await.text(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_public_is_for_all() {
    let origin = counting(&[("cache-control", "public, max-age=60")]);
    let client = client(&private(), &origin);
    for user in [&[("authorization", "a")][..], &[("authorization", "b")], &[]] {
        assert_eq!(client.get("/x", user).await.text(), "1");
    }
    // But what nobody in particular got is not for somebody.
    let origin = counting(&[FRESH]);
    let client = crate::support::client(&private(), &origin);
    assert_eq!(client.get("/x", &[]).await.text(), "1");
    assert_eq!(client.get("/x", &[("authorization", "a")]).await.text(), "2");
}

// Credentials may be put on further in, so that no request shows them to the cache.
#[tokio::test(start_paused = true)]
async fn what_is_public_and_differs_by_credentials_is_for_one() {
    const PUBLIC: (&str, &str) = ("cache-control", "public, max-age=60");
    for fields in [
        &[PUBLIC, ("vary", "authorization")],
        &[PUBLIC, ("vary", "accept, X-Api-Key")],
        &[PUBLIC, ("vary", "Cookie")],
    ] {
        let origin = counting(fields);
        let client = client(&private(), &origin);
        for (name, expected) in [("ada", "1"), ("bob", "2"), ("ada", "1"), ("bob", "2")] {
            assert_eq!(client.send(of(Some(name), &[])).await.text(), expected, "{fields:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_name_its_partition() {
    let origin = counting(&[("cache-control", "public, max-age=60")]);
    let client = client(&private(), &origin);
    for (partition, token, expected) in
        [("one", "a", "1"), ("one", "b", "1"), ("two", "a", "2"), ("one", "c", "1")]
    {
        let mut request = ask("GET", "/x", &[("authorization", token)]);
        request.extensions_mut().insert(CachePartition::named(partition));
        assert_eq!(client.send(request).await.text(), expected);
    }
}

/// A request on behalf of somebody.
fn of(name: Option<&str>, fields: &[(&str, &str)]) -> Ask {
    let mut request = ask("GET", "/x", fields);
    if let Some(name) = name {
        request.extensions_mut().insert(Identity::new(name));
    }
    request
}

#[tokio::test(start_paused = true)]
async fn an_identity_keeps_apart_what_has_no_credentials_yet() {
    let (one, two) = (Some("one"), Some("two"));
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    for (name, fields, expected) in [
        (None, &[][..], "1"),
        (one, &[], "2"),
        (two, &[], "3"),
        (one, &[], "2"),
        // Nor does a name stand in for credentials that are there.
        (one, &[("authorization", "a")], "4"),
        (one, &[("authorization", "b")], "5"),
        (None, &[("authorization", "a")], "6"),
        (one, &[("authorization", "a")], "4"),
    ] {
        assert_eq!(client.send(of(name, fields)).await.text(), expected, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_keeps_apart_in_a_shared_cache_as_well() {
    let origin = counting(&[FRESH]);
    let layer = HttpCacheLayer::shared(MemoryStore::new(1 << 20)).clock(clock());
    let client = client(&layer, &origin);
    for (name, expected) in
        [(None, "1"), (Some("one"), "2"), (Some("two"), "3"), (Some("one"), "2"), (None, "1")]
    {
        assert_eq!(client.send(of(name, &[])).await.text(), expected, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_cache_has_one_partition_and_stores_nothing_personal() {
    let layer = || HttpCacheLayer::shared(MemoryStore::new(1 << 20)).clock(clock());
    for (fields, calls) in [
        (&[("cache-control", "max-age=60")][..], 2),
        (&[("cache-control", "private, max-age=60")], 2),
        (&[("cache-control", "public, max-age=60")], 1),
        (&[("cache-control", "s-maxage=60")], 1),
    ] {
        let origin = Origin::of([reply(200, fields, "one")]);
        let client = client(&layer(), &origin);
        client.get("/x", &[("authorization", "a")]).await;
        client.get("/x", &[("authorization", "b")]).await;
        assert_eq!(origin.calls(), calls, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_variants_are_stored_under_one_key() {
    let origin = Origin::new(|request| {
        let foo = request.headers().get("foo").map_or("-", |foo| foo.to_str().unwrap());
        reply(200, &[FRESH, ("vary", "Foo")], foo)
    });
    let layer = private();
    let client = client(&layer, &origin);
    for _ in 0..2 {
        for foo in ["1", "2", "3"] {
            assert_eq!(client.get("/x", &[("foo", foo)]).await.text(), foo);
        }
        assert_eq!(client.get("/x", &[]).await.text(), "-");
    }
    assert_eq!((origin.calls(), layer.store().len()), (4, 1));
    // There is a bound, and the oldest go.
    for foo in 10..30 {
        client.get("/x", &[("foo", foo.to_string().as_str())]).await;
    }
    assert_eq!(client.get("/x", &[("foo", "29")]).await.cache, CacheStatus::Hit);
    assert_eq!(client.get("/x", &[("foo", "1")]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_route_says_what_of_query_and_vary_counts() {
    let foo = HeaderName::from_static("foo");
    let bar = HeaderName::from_static("bar");
    let layer = private()
        .route(Route::prefix("/x").only_query(["id"]).ignore_vary([foo.clone()]).add_vary([bar]));
    let origin = counting(&[FRESH, ("vary", "Foo")]);
    let client = client(&layer, &origin);
    for (uri, fields, expected) in [
        ("/x?id=1&utm=2", &[("foo", "1")][..], "1"),
        ("/x?id=1", &[("foo", "2")], "1"),
        ("/x?id=2", &[], "2"),
        ("/x?id=1", &[("bar", "1")], "3"),
        ("/xy?id=1", &[], "4"),
        ("/xy?id=1&utm=2", &[], "5"),
    ] {
        assert_eq!(client.get(uri, fields).await.text(), expected, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn uris_are_compared_in_their_normal_form() {
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    for (uri, expected) in [
        ("http://a.example/x", "1"),
        ("HTTP://A.EXAMPLE:80/x", "1"),
        ("http://b.example/x", "2"),
        ("https://a.example/x", "3"),
        ("http://u@a.example/x", "4"),
    ] {
        let mut request = ask("GET", "/", &[]);
        *request.uri_mut() = uri.parse().unwrap();
        assert_eq!(client.send(request).await.text(), expected, "{uri}");
    }
}

/// What clients that ask with a body get: the number of the call.
async fn with_bodies(
    asks: &[(&'static str, &'static str, &'static str, &'static str)],
) -> Vec<String> {
    let calls = Arc::new(AtomicUsize::new(0));
    let origin = service_fn(move |_: Request<Full<Bytes>>| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        let response = Response::builder().header("cache-control", "max-age=60");
        let response = response.body(Full::new(Bytes::from(call.to_string()))).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let bodies = InMemory::new(8).only(|path| path == "/q");
    let service = private().bodies(bodies).layer(origin);
    let mut got = Vec::new();
    for (method, path, kind, body) in asks {
        let request = Request::builder()
            .method(*method)
            .uri(format!("http://a.example{path}"))
            .header("content-type", *kind)
            .body(Full::new(Bytes::from(*body)))
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        got.push(String::from_utf8(body.to_vec()).unwrap());
    }
    got
}

#[tokio::test(start_paused = true)]
async fn requests_are_told_apart_by_their_bodies_if_that_is_wanted() {
    let got = with_bodies(&[
        ("POST", "/q", "text/a", "one"),
        ("POST", "/q", "text/a", "two"),
        ("POST", "/q", "text/b", "one"),
        ("QUERY", "/q", "text/a", "one"),
        ("POST", "/q", "text/a", "one"),
        ("QUERY", "/q", "text/a", "one"),
        // Not this path, and too long.
        ("POST", "/p", "text/a", "one"),
        ("POST", "/p", "text/a", "one"),
        ("POST", "/q", "text/a", "123456789"),
        ("POST", "/q", "text/a", "123456789"),
        // GET has no body that counts, so one that has a body is not stored.
        ("GET", "/q", "text/a", ""),
        ("GET", "/q", "text/a", "one"),
        ("GET", "/q", "text/a", "two"),
        ("GET", "/q", "text/a", ""),
    ]);
    let expected = ["1", "2", "3", "4", "1", "4", "5", "6", "7", "8", "9", "10", "11", "9"];
    assert_eq!(got.await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_is_found_by_what_counts_of_its_query() {
    let layer = private().route(Route::prefix("/x").only_query(["id"]));
    let mut calls = 0;
    let origin = Origin::new(move |request| {
        calls += 1;
        let location = [FRESH, ("location", "/x?id=1&utm=3")];
        let fields = if request.method() == "GET" { &location[..1] } else { &location };
        reply(200, fields, &calls.to_string())
    });
    let client = client(&layer, &origin);
    assert_eq!(client.get("/x?id=1&utm=1", &[]).await.text(), "1");
    client.send(ask("POST", "/y", &[])).await;
    assert_eq!(client.get("/x?id=1&utm=2", &[]).await.text(), "3");
    client.send(ask("PUT", "/x?utm=9&id=1", &[])).await;
    assert_eq!(client.get("/x?id=1", &[]).await.text(), "5");
}

#[tokio::test(start_paused = true)]
async fn api_keys_and_whatever_is_sensitive_are_credentials() {
    let origin = counting(&[("cache-control", "private, max-age=60")]);
    let client = client(&private(), &origin);
    assert_eq!(client.get("/x", &[("x-api-key", "a")]).await.text(), "1");
    assert_eq!(client.get("/x", &[("x-api-key", "b")]).await.text(), "2");
    assert_eq!(client.get("/x", &[("x-api-key", "a")]).await.text(), "1");
    for name in ["private-token", "ocp-apim-subscription-key", "x-client-secret"] {
        let uri = format!("/{name}");
        let one = client.get(&uri, &[(name, "a")]).await;
        assert_ne!(client.get(&uri, &[(name, "b")]).await.text(), one.text(), "{name}");
        assert_eq!(client.get(&uri, &[(name, "a")]).await.text(), one.text(), "{name}");
    }
    // Each request has another one, and it says nothing of who asks.
    let one = client.get("/y", &[("idempotency-key", "a")]).await;
    let other = client.get("/y", &[("idempotency-key", "b")]).await;
    assert_eq!(one.text(), other.text());
    let before = origin.calls();
    let secret = |value| {
        let mut request = ask("GET", "/x", &[("x-tenant", value)]);
        request.headers_mut().get_mut("x-tenant").unwrap().set_sensitive(true);
        request
    };
    for value in ["a", "b"] {
        client.send(secret(value)).await;
    }
    assert_eq!(origin.calls(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_another_host_than_the_uri_says_is_passed_on() {
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    for (host, expected) in
        [("a.example", "1"), ("b.example", "2"), ("b.example", "3"), ("A.example", "1")]
    {
        assert_eq!(client.get("/x", &[("host", host)]).await.text(), expected);
    }
    assert_eq!(client.get("/x", &[]).await.text(), "1");
    // Who knows which of several is meant.
    let twice = [("host", "a.example"), ("host", "b.example")];
    assert_eq!(client.get("/x", &twice).await.text(), "4");
}

#[tokio::test(start_paused = true)]
async fn cookies_of_one_are_not_set_for_all() {
    let origin = counting(&[("cache-control", "public, max-age=60"), ("set-cookie", "session=a")]);
    let client = client(&private(), &origin);
    for (user, expected) in [("a", "1"), ("b", "2"), ("a", "1")] {
        assert_eq!(client.get("/x", &[("authorization", user)]).await.text(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_get_is_in_no_key() {
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    for expected in ["1", "2"] {
        assert_eq!(client.get("/x", &[("content-length", "3")]).await.text(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn lengths_that_contradict_are_not_kept() {
    for length in ["5, 7", "+1", "one", ""] {
        let origin = Origin::of((0..2).map(|_| {
            let mut reply = reply(200, &[FRESH], "1");
            reply.headers.retain(|(name, _)| name != "content-length");
            reply.headers.push(("content-length".to_owned(), length.to_owned()));
            reply
        }));
        let client = client(&private(), &origin);
        client.get("/x", &[]).await;
        client.get("/x", &[]).await;
        assert_eq!(origin.calls(), 2, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_apart_where_the_uri_does_not_name_them() {
    let origin = counting(&[FRESH]);
    let client = client(&private(), &origin);
    let of = |method, host: Option<&'static str>| {
        let fields = host.map(|host| ("host", host));
        let mut request = ask(method, "/", fields.as_slice());
        *request.uri_mut() = "/x".parse().unwrap();
        request
    };
    for _ in 0..2 {
        for (host, expected) in [(Some("a.example"), "1"), (Some("b.example"), "2"), (None, "3")] {
            assert_eq!(client.send(of("GET", host)).await.text(), expected);
        }
    }
    client.send(of("POST", Some("b.example"))).await;
    assert_eq!(client.send(of("GET", Some("a.example"))).await.text(), "1");
    assert_eq!(client.send(of("GET", Some("b.example"))).await.text(), "5");
}
