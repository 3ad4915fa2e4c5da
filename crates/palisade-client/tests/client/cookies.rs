//! Cookies, in jars and over servers.

use http::{Request, Response, Uri};
use http_body_util::Full;
use palisade_client::{Body, Client, CookieJar};
use tower::{BoxError, ServiceExt, service_fn};

use crate::servers::{Reply, Server, get, redirect, reply};

fn uri(uri: &str) -> Uri {
    uri.parse().unwrap()
}

fn sent(jar: &CookieJar, to: &str) -> String {
    let field = jar.cookies_for(&uri(to));
    assert!(field.as_ref().is_none_or(http::HeaderValue::is_sensitive));
    field.map(|field| field.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn a_cookie_goes_back_to_its_origin_alone() {
    for (from, cookie, to, goes) in [
        ("https://api.example/", "a=1", "https://api.example/users?x=1", true),
        ("https://api.example/", "a=1", "https://API.example:443/", true),
        ("https://api.example/", "a=1", "http://api.example/", false),
        ("http://api.example/", "a=1", "https://api.example/", false),
        ("https://api.example/", "a=1", "https://api.example:8443/", false),
        ("https://api.example/", "a=1", "https://eu.api.example/", false),
        ("https://api.example/", "a=1", "https://example/", false),
        ("https://api.example/", "a=1", "https://evilapi.example/", false),
        // Who is not named shares nothing.
        ("https://api.example.com/", "a=1; Domain=example.com", "https://api.example.com/", true),
        ("https://api.example.com/", "a=1; Domain=example.com", "https://example.com/", false),
        ("https://api.example.com/", "a=1; Domain=com", "https://other.com/", false),
        // Addresses.
        ("http://127.0.0.1:80/", "a=1", "http://127.0.0.1/", true),
        ("http://[::1]:8080/", "a=1", "http://[::1]:8080/", true),
        ("http://127.0.0.1/", "a=1", "http://127.0.0.2/", false),
        // Paths: RFC 6265, section 5.1.4.
        ("https://a.example/v1/login", "a=1", "https://a.example/v1/users", true),
        ("https://a.example/v1/login", "a=1", "https://a.example/v2", false),
        ("https://a.example/v1/login", "a=1; Path=/", "https://a.example/v2", true),
        ("https://a.example/", "a=1; Path=/v1", "https://a.example/v10", false),
        ("https://a.example/", "a=1; Path=/v1", "https://a.example/v1/x", true),
    ] {
        let jar = CookieJar::new();
        assert!(jar.set(&uri(from), cookie), "{from} {cookie}");
        assert_eq!(sent(&jar, to), if goes { "a=1" } else { "" }, "{from} {cookie} {to}");
    }
}

#[test]
fn a_domain_that_is_named_shares() {
    let jar = CookieJar::new().shared_domain(".Example.com");
    let login = uri("https://login.example.com/");
    assert!(jar.set(&login, "a=1; Domain=.example.com"));
    assert!(jar.set(&login, "b=1; Domain=login.example.com"));
    assert!(jar.set(&login, "c=1"));
    assert_eq!(sent(&jar, "https://login.example.com/"), "a=1; b=1; c=1");
    assert_eq!(sent(&jar, "https://example.com/"), "a=1");
    assert_eq!(sent(&jar, "https://eu.api.example.com:8443/"), "a=1");
    for other in ["http://example.com/", "https://badexample.com/", "https://com/"] {
        assert_eq!(sent(&jar, other), "", "{other}");
    }
}

#[test]
fn what_may_not_be_set_is_not_taken() {
    let long = format!("a={}", "x".repeat(4096));
    for (from, cookie) in [
        ("https://api.example/", "a=1; Domain=other.example"),
        ("https://api.example/", "a=1; Domain=eu.api.example"),
        ("https://127.0.0.1/", "a=1; Domain=0.0.1"),
        ("https://api.example/", ""),
        ("https://api.example/", "a"),
        ("https://api.example/", "=1"),
        // RFC 6265bis, section 5.6.
        ("https://api.example/", "a=1\u{1}"),
        ("https://api.example/", "a=1\r\nb: 2"),
        ("https://api.example/", &long),
        ("https://api.example/", "a=1; Max-Age=0"),
        ("https://api.example/", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        // RFC 6265bis, section 5.7.
        ("http://api.example/", "a=1; Secure"),
        ("http://localhost/", "a=1; Secure"),
        ("http://127.0.0.1/", "a=1; Secure"),
        ("https://api.example/", "__Secure-a=1"),
        ("http://api.example/", "__secure-a=1; Secure"),
        ("https://api.example/", "__Host-a=1; Secure"),
        ("https://api.example/", "__Host-a=1; Path=/"),
        ("https://api.example/", "__Host-a=1; Secure; Path=/; Domain=api.example"),
    ] {
        assert!(!CookieJar::new().set(&uri(from), cookie), "{from} {cookie}");
    }
    let jar = CookieJar::new();
    assert!(jar.set(&uri("https://api.example/"), "__Host-a=1; Secure; Path=/; HttpOnly"));
    assert!(jar.set(&uri("https://api.example/"), "__Secure-b=\"1\"; Secure; SameSite=Strict"));
    assert_eq!(sent(&jar, "https://api.example/"), "__Host-a=1; __Secure-b=\"1\"");
}

#[test]
fn longer_paths_come_first_and_what_ends_is_gone() {
    let jar = CookieJar::new();
    let from = uri("https://api.example/v1/x");
    for cookie in ["b=1; Path=/", "a=1; Path=/", "c=1; Path=/v1/x", "d=1"] {
        assert!(jar.set(&from, cookie));
    }
    // RFC 6265, section 5.4: of those with paths of one length, the one that was there first.
    assert_eq!(sent(&jar, "https://api.example/v1/x"), "c=1; d=1; b=1; a=1");
    // Section 5.3: one that is set again was there before.
    assert!(jar.set(&from, "b=2; Path=/"));
    assert!(jar.set(&from, "c=; Path=/v1/x; Max-Age=0"));
    assert_eq!(sent(&jar, "https://api.example/v1/x"), "d=1; b=2; a=1");
    jar.clear();
    assert_eq!(sent(&jar, "https://api.example/v1/x"), "");
}

#[test]
fn a_jar_has_an_end() {
    let jar = CookieJar::new();
    let from = uri("https://api.example/");
    let set = |index: usize| jar.set(&from, &format!("c{index}=1"));
    let has = |index: usize| sent(&jar, "https://api.example/").contains(&format!("c{index}=1"));
    assert!((0..64).all(set));
    // What is there can change, and what has ended makes room.
    assert!(set(0));
    assert!(jar.set(&from, "c1=; Max-Age=0"));
    assert!(set(64));
    assert!(has(0) && (2..65).all(has));
    // The one that was set least recently makes room for another.
    assert!(set(65) && set(66));
    assert!(has(0) && !has(2) && !has(3) && (4..67).all(has));
    // Others have room of their own, up to a point.
    let other = |index: usize| jar.set(&uri(&format!("https://{index}.example/")), "a=1");
    assert!((1..256).all(other));
    assert!(!other(256));
    assert!(jar.set(&uri("https://9.example/"), "a=; Max-Age=0"));
    assert!(other(256));
}

#[test]
fn a_line_has_an_end() {
    let jar = CookieJar::new();
    let from = uri("https://api.example/v1/x");
    // Each with its separator is of 1,023 bytes.
    let cookie = |index: usize, path: &str| format!("c{index}={}; Path={path}", "x".repeat(1018));
    assert!((0..7).all(|index| jar.set(&from, &cookie(index, "/"))));
    assert!(jar.set(&from, &cookie(7, "/v1")));
    let line = sent(&jar, "https://api.example/v1/x");
    assert!(format!("cookie: {line}").len() == 8190);
    assert!(line.starts_with("c7=") && line.contains("; c6="));
    // What no longer fits is that with the shortest path, and the youngest of these; a short one
    // still fits where a long one did not.
    assert!(jar.set(&from, &cookie(8, "/v1")));
    assert!(jar.set(&from, "c9=1; Path=/v1/x") && jar.set(&from, "d=1; Path=/"));
    let line = sent(&jar, "https://api.example/v1/x");
    assert!(line.starts_with("c9=1; c7="));
    assert!(line.contains("; c4=") && !line.contains("; c5=") && line.ends_with("; d=1"));
}

#[test]
fn no_cookie_is_shown() {
    let jar = CookieJar::new();
    assert!(jar.set(&uri("https://api.example/"), "session=s3cret"));
    let field = jar.cookies_for(&uri("https://api.example/"));
    let builder = Client::builder().cookies(jar.clone());
    assert!(!format!("{jar:?} {field:?} {builder:?}").contains("s3cret"));
}

fn sets(cookie: &str, to: &str) -> Reply {
    let mut response = redirect(302, to);
    response.headers_mut().append("set-cookie", cookie.parse().unwrap());
    response.headers_mut().append("set-cookie", "other=2; Path=/".parse().unwrap());
    response
}

fn cookies(server: &Server) -> Vec<Option<String>> {
    let cookie = |seen: crate::servers::Seen| {
        seen.headers.get("cookie").map(|field| field.to_str().unwrap().to_owned())
    };
    server.seen().into_iter().map(cookie).collect()
}

#[tokio::test]
async fn each_hop_of_a_redirect_has_those_of_its_origin() {
    let other = Server::start(|_| reply(200, "there")).await;
    let away = other.url("/");
    let server = Server::start(move |seen| match seen.uri.path() {
        "/login" => sets("session=1; Path=/; HttpOnly", "/home"),
        "/home" => redirect(302, &away),
        _ => reply(200, ""),
    });
    let server = server.await;
    let client = Client::builder().no_proxy().cookies(CookieJar::new()).build().unwrap();
    client.clone().oneshot(get(server.url("/login"))).await.unwrap();
    client.clone().oneshot(get(server.url("/users"))).await.unwrap();
    let both = Some("session=1; other=2".to_owned());
    assert_eq!(cookies(&server), [None, both.clone(), both]);
    assert_eq!(cookies(&other), [None]);

    // Those of the caller's own stand, and go nowhere else.
    let mut own = get(server.url("/home"));
    own.headers_mut().insert("cookie", "mine=1; session=mine".parse().unwrap());
    client.oneshot(own).await.unwrap();
    assert_eq!(cookies(&server)[3].as_deref(), Some("mine=1; session=mine; other=2"));
    assert_eq!(cookies(&other), [None, None]);
}

#[tokio::test]
async fn each_attempt_has_what_the_one_before_has_set() {
    let server = Server::start(|seen| match seen.headers.contains_key("cookie") {
        true => reply(200, ""),
        false => {
            let mut response = reply(503, "");
            response.headers_mut().insert("set-cookie", "a=1".parse().unwrap());
            response
        }
    });
    let server = server.await;
    let backoff = palisade_retry::Backoff::constant(std::time::Duration::from_millis(1));
    let retry = palisade_retry::RetryLayer::http().backoff(backoff);
    let client = Client::builder().no_proxy().retry(retry).cookies(CookieJar::new());
    let response = client.build().unwrap().oneshot(get(server.url("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(cookies(&server), [None, Some("a=1".to_owned())]);
}

#[tokio::test]
async fn a_cache_keeps_no_answer_to_a_cookie_that_it_does_not_see() {
    let answer = |request: Request<Body>| async move {
        let who = request.headers().get("cookie").cloned();
        let body = who.map(|who| who.to_str().unwrap().to_owned()).unwrap_or_default();
        let response = Response::builder().header("cache-control", "max-age=60");
        Ok::<_, BoxError>(response.header("vary", "Accept, Cookie").body(Full::from(body))?)
    };
    let jar = CookieJar::new();
    let store = palisade_cache::MemoryStore::new(1 << 20);
    let client = Client::builder().cache(palisade_cache::HttpCacheLayer::private(store));
    let client = client.cookies(jar.clone()).base_url("https://api.example");
    let client = client.build_over(service_fn(answer)).unwrap();
    for who in ["", "who=ada", "who=eve"] {
        jar.set(&uri("https://api.example/"), who);
        let response = client.get("/me").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), who);
    }
}

// A key that is sent as a cookie is one beside others.
#[tokio::test]
async fn credentials_may_be_a_cookie_beside_them() {
    let server = Server::start(|_| {
        let mut response = reply(200, "");
        response.headers_mut().insert("set-cookie", "session=1".parse().unwrap());
        response
    });
    let server = server.await;
    let key = palisade_auth::ApiKey::cookie("key", "s3cret").unwrap();
    let origins = palisade_core::Origins::new([server.url("")]);
    let client = Client::builder().no_proxy().auth(key, origins).cookies(CookieJar::new());
    let client = client.build().unwrap();
    for _ in 0..2 {
        client.clone().oneshot(get(server.url("/"))).await.unwrap();
    }
    let line = |cookies: &str| Some(cookies.to_owned());
    assert_eq!(cookies(&server), [line("key=s3cret"), line("key=s3cret; session=1")]);
}
