use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Method, Request, Response, header::IF_RANGE};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_client::{Body, Client};
use palisade_core::BoxError;
use tower::{ServiceExt, service_fn};

use crate::servers::{Server, get, redirect, reply, text};

/// Two origins: the first redirects to whatever the path says.
async fn origins(status: u16) -> (Server, Server) {
    let other = Server::start(|_| reply(200, "there")).await;
    let to = other.url("/landed");
    let first = Server::start(move |seen| match seen.uri.path() {
        "/away" => redirect(status, &to),
        "/near" => redirect(status, "/landed"),
        "/loop" => redirect(status, "/loop"),
        _ => reply(200, "here"),
    });
    (first.await, other)
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn with_secrets(method: Method, uri: String, body: &'static str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", "Bearer s3cret")
        .header("cookie", "session=s3cret")
        .header("x-api-key", "s3cret")
        .header("accept", "application/json")
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn another_origin_is_told_no_secrets() {
    let (first, other) = origins(302).await;
    let request = with_secrets(Method::GET, first.url("/away"), "");
    let response = client().oneshot(request).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "there");

    let seen = &other.seen()[0];
    assert_eq!(seen.headers["accept"], "application/json");
    let secret = |value: &http::HeaderValue| value.to_str().unwrap().contains("s3cret");
    assert!(!seen.headers.values().any(secret), "{:?}", seen.headers);
}

#[tokio::test]
async fn the_same_origin_is_asked_as_before() {
    let (first, _) = origins(307).await;
    let request = with_secrets(Method::POST, first.url("/near"), "order");
    let response = client().oneshot(request).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "here");

    let seen = &first.seen()[1];
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", "/landed"));
    assert_eq!(seen.headers["x-api-key"], "s3cret");
    assert_eq!(seen.body, "order");
}

#[tokio::test]
async fn a_body_is_not_sent_to_another_origin() {
    for (method, status, body) in [
        ("POST", 307, "s3cret"),
        ("POST", 308, "s3cret"),
        ("POST", 307, ""),
        ("PUT", 301, "s3cret"),
        ("PATCH", 302, "s3cret"),
        ("DELETE", 302, ""),
        ("GET", 302, "s3cret"),
        ("GET", 307, "s3cret"),
        ("QUERY", 308, "s3cret"),
    ] {
        let (first, other) = origins(status).await;
        let request = with_secrets(method.parse().unwrap(), first.url("/away"), body);
        let response = client().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method}");
        assert!(other.seen().is_empty(), "{method} {status}");
    }
    for method in ["GET", "POST", "PUT", "QUERY"] {
        let (first, other) = origins(303).await;
        let request = with_secrets(method.parse().unwrap(), first.url("/away"), "s3cret");
        client().oneshot(request).await.unwrap();
        let seen = &other.seen()[0];
        assert_eq!((seen.method.as_str(), &seen.body[..]), ("GET", &b""[..]), "{method}");
    }
}

#[tokio::test]
async fn a_post_becomes_a_get_where_browsers_do_so() {
    for status in [301, 302, 303] {
        let (first, _) = origins(status).await;
        let request = with_secrets(Method::POST, first.url("/near"), "order");
        client().oneshot(request).await.unwrap();
        let seen = &first.seen()[1];
        assert_eq!((seen.method.as_str(), &seen.body[..]), ("GET", &b""[..]), "{status}");
    }
}

#[tokio::test]
async fn a_loop_ends() {
    let (first, _) = origins(302).await;
    for (most, requests) in [(0, 1), (1, 2), (10, 11)] {
        let before = first.seen().len();
        let client = Client::builder().no_proxy().redirects(most).build().unwrap();
        let response = client.oneshot(get(first.url("/loop"))).await.unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(first.seen().len() - before, requests);
    }
}

#[tokio::test]
async fn a_cache_keeps_each_answer_as_that_to_what_was_asked_for_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let api = service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            let response = Response::builder();
            Ok::<_, BoxError>(match &*path {
                "/latest" => response
                    .status(307)
                    .header("location", format!("/reports/{number}"))
                    .body(Body::empty())?,
                "/old" => response
                    .status(301)
                    .header("location", "/reports/0")
                    .header("cache-control", "max-age=60")
                    .body(Body::empty())?,
                _ => response.header("cache-control", "max-age=60").body(Body::from(path))?,
            })
        }
    });
    let cache = HttpCacheLayer::private(MemoryStore::new(1 << 20));
    let client = Client::builder().base_url("https://api.example").cache(cache);
    let client = client.build_over(api).unwrap();
    let read = async |route| client.get(route).send().await.unwrap().text().await.unwrap();
    assert_eq!(read("/latest").await, "/reports/0");
    assert_eq!(read("/latest").await, "/reports/2");
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // Where the first one led is known.
    assert_eq!(read("/reports/0").await, "/reports/0");
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // And by now, that this one leads there.
    for _ in 0..2 {
        assert_eq!(read("/old").await, "/reports/0");
        assert_eq!(asked.load(Ordering::Relaxed), 5);
    }
}

// A tag is one of what was asked for: where a redirect leads, it may be that of something else.
#[tokio::test]
async fn what_is_known_is_not_told_where_a_redirect_leads() {
    let (first, _) = origins(307).await;
    for (method, kept) in [(Method::GET, false), (Method::PUT, true)] {
        let request = Request::builder()
            .method(method)
            .uri(first.url("/near"))
            .header("if-none-match", "*")
            .header("if-match", "\"a\"")
            .header("if-modified-since", "Tue, 15 Nov 1994 12:45:26 GMT")
            .body(Body::from("x"))
            .unwrap();
        client().oneshot(request).await.unwrap();
        let seen = first.seen();
        let [.., asked, landed] = &seen[..] else { panic!("{seen:?}") };
        for name in ["if-none-match", "if-modified-since", "if-match"] {
            assert!(asked.headers.contains_key(name));
            assert_eq!(landed.headers.contains_key(name), kept || name == "if-match", "{name}");
        }
    }
}

// What it insisted on was so: what it has led to is something else.
#[tokio::test]
async fn a_write_that_is_done_insists_on_nothing_more() {
    let (first, _) = origins(303).await;
    let names = ["if-match", "if-unmodified-since", "content-language", "digest", "content-type"];
    let mut request = Request::put(first.url("/near")).body(Body::from("x")).unwrap();
    for name in names {
        request.headers_mut().insert(name, "x".parse().unwrap());
    }
    client().oneshot(request).await.unwrap();
    for (seen, told) in first.seen().iter().zip([true, false]) {
        assert!(names.iter().all(|name| seen.headers.contains_key(*name) == told), "{seen:?}");
    }
}

#[tokio::test]
async fn another_origin_is_told_all_lines_of_what_is_wanted() {
    let (first, other) = origins(302).await;
    let mut request = get(first.url("/away"));
    for line in ["a/b", "c/d"] {
        request.headers_mut().append("accept", line.parse().unwrap());
    }
    client().oneshot(request).await.unwrap();
    let seen = &other.seen()[0];
    assert!(seen.headers.get_all("accept").iter().eq(["a/b", "c/d"]));
}

// Without its tag, a part would be one of whatever is there now.
#[tokio::test]
async fn a_part_is_asked_for_where_a_redirect_leads_only_if_that_depends_on_nothing() {
    let (first, other) = origins(302).await;
    for (path, there) in [("/away", &other), ("/near", &first)] {
        for known in [None, Some("\"a\"")] {
            let mut request = get(first.url(path));
            request.headers_mut().insert("range", "bytes=2-".parse().unwrap());
            request.headers_mut().extend(known.map(|known| (IF_RANGE, known.parse().unwrap())));
            client().oneshot(request).await.unwrap();
            let seen = there.seen().pop().unwrap();
            assert_eq!(seen.headers.contains_key("range"), known.is_none());
            assert!(!seen.headers.contains_key(IF_RANGE));
        }
    }
}
