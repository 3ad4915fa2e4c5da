use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::Body as _;
use palisade_client::{Body, Client, HttpVersions, Kind, Multipart, Part};
use palisade_core::{Deadline, Endpoint, Idempotent, Origins};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    api::{answer, api, pieces, sent},
    servers::{Server, reply},
};

fn client() -> palisade_client::ClientOf<
    crate::api::Api<impl FnMut(&http::Request<Body>) -> http::Response<Body> + Clone>,
> {
    api(|_| answer(204, "", Body::empty()))
}

#[derive(Serialize)]
struct Search<'a> {
    q: &'a str,
    tag: &'a [&'a str],
    page: Option<u32>,
}

#[tokio::test]
async fn values_and_query_make_the_url() {
    let search = Search { q: "a&b c", tag: &["x", "ü"], page: None };
    let client = client();
    client
        .get("/repos/{repo}/issues?state=open")
        .path("repo", "me/it")
        .query(&search)
        .query(&[("per_page", 100)])
        .query(&Search { q: "", tag: &[], page: Some(1) })
        .send()
        .await
        .unwrap();
    let request = client.service().last();
    assert_eq!(
        request.uri(),
        "https://api.example/v1/repos/me%2Fit/issues?state=open&q=a%26b+c&tag=x&tag=%C3%BC&per_page=100&q=&page=1"
    );
    let endpoint = Endpoint::of(request.extensions()).unwrap();
    assert_eq!((endpoint.method(), endpoint.template()), (&Method::GET, "/repos/{repo}/issues"));
}

#[tokio::test]
async fn an_empty_query_is_none() {
    let client = client();
    let nothing: [(&str, &str); 0] = [];
    client.get("/users").query(&nothing).send().await.unwrap();
    assert_eq!(client.service().last().uri(), "https://api.example/v1/users");
    client.get("/users?").query(&[("a", 1)]).send().await.unwrap();
    assert_eq!(client.service().last().uri(), "https://api.example/v1/users?a=1");
}

#[tokio::test]
async fn a_link_is_taken_as_it_is_and_has_no_endpoint() {
    let client = client();
    for (link, url) in [
        ("/häh?ü", "https://api.example/v1/h%C3%A4h?%C3%BC"),
        ("/a b?c=d e+f", "https://api.example/v1/a%20b?c=d%20e+f"),
        ("/a?q={\"b\":[1]}|<c>", "https://api.example/v1/a?q=%7B%22b%22:[1]%7D%7C%3Cc%3E"),
        (r"/<{a|`^\b}>", "https://api.example/v1/%3C%7Ba%7C%60%5E%5Cb%7D%3E"),
        ("/a%20b%2F?c=%7b%", "https://api.example/v1/a%20b%2F?c=%7b%"),
        (" /a?b=1\r\n", "https://api.example/v1/a?b=1"),
        (r"\\evil.example/a", "https://api.example/v1/%5C%5Cevil.example/a"),
        ("https://api.example/a b", "https://api.example/a%20b"),
    ] {
        client.get(link.to_owned()).send().await.unwrap();
        assert_eq!(client.service().last().uri(), url, "{link}");
    }
    client.get("https://api.example/v2/x?cursor=%7B#top".to_owned()).send().await.unwrap();
    let request = client.service().last();
    assert_eq!(request.uri(), "https://api.example/v2/x?cursor=%7B");
    assert!(Endpoint::of(request.extensions()).is_none());
}

#[tokio::test]
async fn an_endpoint_is_a_route() {
    static GET_USER: Endpoint = Endpoint::new(Method::PUT, "/users/{id}");
    let client = client();
    client.endpoint(&GET_USER).path("id", 7).send().await.unwrap();
    let request = client.service().last();
    assert_eq!(request.method(), Method::PUT);
    assert!(std::ptr::eq(Endpoint::of(request.extensions()).unwrap(), &raw const GET_USER));
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_sent() {
    let client = client();
    let unordered = std::collections::BTreeMap::from([((1, 2), 3)]);
    for (request, text) in [
        (
            client.get("/users/{id}"),
            "cannot make the request GET /users/{id}: there is no value for `{id}`: call `.path(\"id\", ..)`",
        ),
        (
            client.get("/users/{id}").path("id", ""),
            "cannot make the request GET /users/{id}: the value of `{id}` is empty, which would be another path",
        ),
        (
            client.get("https://evil.example/{x}").path("x", 1),
            "cannot make the request GET /{x}: the link leads to another origin than the base URL: allow it by `origins`",
        ),
        (
            client.get("https://evil.example/".to_owned()),
            "cannot make the request GET: the link leads to another origin than the base URL: allow it by `origins`",
        ),
        (
            client.get("https://bücher.example/a".to_owned()),
            "cannot make the request GET: the host has letters beyond ASCII: write it in punycode, as in `xn--bcher-kva.example`",
        ),
        (
            client.get(r"/a\..\..\admin".to_owned()),
            "cannot make the request GET: the path has a segment of dots, which would be another path",
        ),
        (
            client.get(r"/a\..\admin".to_owned()),
            "cannot make the request GET: the path has a segment of dots, which would be another path",
        ),
        (
            client.delete("/users".to_owned()).path("id", 1),
            "cannot make the request DELETE: the route is no template, and has no place for the value `id`",
        ),
        (
            client.get("/users").header("x y", "1"),
            "cannot make the request GET /users: a header has no valid name",
        ),
        (
            client.get("/users").header("x-token", "s3cret\n"),
            "cannot make the request GET /users: the value of the header `x-token` is not valid",
        ),
        (
            client.post("/users").json(&unordered),
            "cannot make the request POST /users: the body cannot be serialized",
        ),
        (
            client.post("/users").body("abc").header("content-length", 5),
            "cannot make the request POST /users: the `content-length` says 5 bytes and the body has 3: leave the field out",
        ),
        (
            client.get("/users").header("content-length", "1"),
            "cannot make the request GET /users: the `content-length` says 1 bytes and the body has 0: leave the field out",
        ),
        (
            client
                .post("/users")
                .body(Body::stream_with_length(pieces(vec![Ok(b"abc")]), 3))
                .header("content-length", 2),
            "cannot make the request POST /users: the `content-length` says 2 bytes and the body has 3: leave the field out",
        ),
        (
            client.post("/users").body("abc").header("content-length", "+3"),
            "cannot make the request POST /users: the `content-length` is no number of bytes: leave the field out",
        ),
        (
            client.post("/users").query(&7),
            "cannot make the request POST /users: the query cannot be serialized",
        ),
    ] {
        let error = request.send().await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Request, text));
    }
    assert_eq!(client.service().count(), 0);
}

#[tokio::test]
async fn bodies_say_what_they_are() {
    let client = client();
    client.post("/a").json(&[1, 2]).send().await.unwrap();
    let request = client.service().last();
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(sent(request).await, b"[1,2]");

    client.put("/a").form(&[("a", "1 2"), ("b", "&")]).send().await.unwrap();
    let request = client.service().last();
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!(sent(request).await, b"a=1+2&b=%26");

    client
        .patch("/a")
        .header("content-type", "application/merge-patch+json")
        .json(&())
        .send()
        .await
        .unwrap();
    let request = client.service().last();
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/merge-patch+json");
}

#[test]
fn a_body_has_one_type() {
    let client = client();
    let post = || client.post("/a");
    let own =
        |value| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
    let form = || Multipart::new().text("a", "1");
    let (field, json, parts) =
        ("content-type", "application/json", "multipart/form-data; boundary=");
    for (request, expected) in [
        // What the user says stands, wherever it is said.
        (post().json(&1).header(field, "a/b"), Some("a/b")),
        (post().json(&1).headers(own("a/b")), Some("a/b")),
        (post().header(field, "a/b").json(&1), Some("a/b")),
        (post().headers(own("a/b")).json(&1), Some("a/b")),
        (post().header(field, "a/b").json(&1).form(&[("a", 1)]), Some("a/b")),
        (post().json(&1).header(field, "a/b").form(&[("a", 1)]), Some("a/b")),
        (post().header(field, "a/b").body("x"), Some("a/b")),
        (post().header(field, "a/b").header(field, "c/d"), Some("c/d")),
        // What a body says goes with it.
        (post().form(&[("a", 1)]).json(&1), Some(json)),
        (post().json(&1).json(&2), Some(json)),
        (post().json(&1).body("x"), None),
        (post().json(&1).stream(pieces(vec![])), None),
        (post().multipart(form()).json(&1), Some(json)),
        (post().multipart(form()).body("x").header(field, "a/b"), Some("a/b")),
        // But for a form, which cannot be read without its boundary.
        (post().json(&1).multipart(form()), Some(parts)),
        (post().header(field, "a/b").multipart(form()), Some(parts)),
        (post().multipart(form()).header(field, "multipart/form-data"), Some(parts)),
        (post().multipart(form()).headers(own("multipart/form-data")), Some(parts)),
    ] {
        let request = request.build().unwrap();
        let types: Vec<_> = request.headers().get_all(field).iter().collect();
        match (expected, &types[..]) {
            (Some(expected), [found]) if found.to_str().unwrap().starts_with(expected) => {}
            (None, []) => {}
            _ => panic!("{types:?}, and not {expected:?}"),
        }
    }
}

#[test]
fn a_field_that_is_no_list_has_one_line() {
    let client = client();
    for (field, expected) in [
        ("authorization", &["2"][..]),
        ("content-length", &["2"]),
        ("host", &["2"]),
        ("user-agent", &["2"]),
        ("if-modified-since", &["2"]),
        ("range", &["2"]),
        ("idempotency-key", &["2"]),
        ("traceparent", &["2"]),
        ("x-api-key", &["2"]),
        ("cookie", &["1; 2"]),
        ("accept", &["1", "2"]),
        ("if-none-match", &["1", "2"]),
        ("x-a", &["1", "2"]),
    ] {
        let name = HeaderName::from_static(field);
        let twice = ["1", "2"].map(|value| (name.clone(), HeaderValue::from_static(value)));
        let twice = HeaderMap::from_iter(twice);
        for request in [
            client.post("/a").header(&name, "1").header(&name, "2"),
            client.post("/a").header(&name, "0").headers(twice.clone()),
        ] {
            let request = request.body("ab").build().unwrap();
            let values: Vec<_> = request.headers().get_all(&name).iter().collect();
            assert_eq!(values, expected, "{field}");
        }
    }
}

#[test]
fn more_headers_than_there_is_room_for_are_an_error() {
    let client = client();
    let field = |n: u32| (HeaderName::try_from(format!("x-{n}")).unwrap(), HeaderValue::from(n));
    let many = |from| HeaderMap::from_iter((from..from + 20_000).map(field));
    let error = client.get("/a").headers(many(0)).headers(many(20_000)).build().unwrap_err();
    let text = "cannot make the request GET /a: there are too many headers";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_header_takes_the_place_of_a_default() {
    let name = HeaderName::from_static;
    let client = client()
        .default_header(name("x-a"), HeaderValue::from_static("default"))
        .default_header(name("x-b"), HeaderValue::from_static("default"));
    client.head("/a").header("x-a", "1").header("x-a", "2").send().await.unwrap();
    let request = client.service().last();
    let values = |of: &str| -> Vec<_> { request.headers().get_all(of).iter().cloned().collect() };
    assert_eq!(values("x-a"), ["1", "2"]);
    assert_eq!(values("x-b"), ["default"]);

    let headers = HeaderMap::from_iter([(name("x-a"), HeaderValue::from_static("3"))]);
    client.get("/a").header("x-a", "1").headers(headers).send().await.unwrap();
    assert_eq!(client.service().last().headers()["x-a"], "3");
}

#[tokio::test]
async fn credentials_of_all_requests_go_to_the_base_alone() {
    let name = HeaderName::from_static;
    let mut secret = HeaderValue::from_static("s3cret");
    let client = client()
        .origins(Origins::new(["https://cdn.example"]))
        .default_header(header::AUTHORIZATION, secret.clone())
        .default_header(name("x-a"), HeaderValue::from_static("1"));
    secret.set_sensitive(true);
    let client = client.default_header(name("x-key"), secret);
    for (url, told) in [("https://api.example/a", true), ("https://cdn.example/a", false)] {
        client.get(url.to_owned()).send().await.unwrap();
        let request = client.service().last();
        assert_eq!(request.headers().contains_key("authorization"), told, "{url}");
        assert_eq!(request.headers().contains_key("x-key"), told, "{url}");
        assert_eq!(request.headers()["x-a"], "1");
    }
}

#[tokio::test]
async fn a_default_whose_name_says_that_it_is_secret_goes_to_the_base_alone() {
    for (field, anywhere) in [
        ("authorization", false),
        ("private-token", false),
        ("x-auth-token", false),
        ("x-goog-api-key", false),
        ("ocp-apim-subscription-key", false),
        ("x-client-secret", false),
        ("idempotency-key", true),
        ("accept-language", true),
    ] {
        let client = client()
            .origins(Origins::new(["https://cdn.example"]))
            .default_header(HeaderName::from_static(field), HeaderValue::from_static("1"));
        for (url, told) in [("https://api.example/a", true), ("https://cdn.example/a", anywhere)] {
            client.get(url.to_owned()).send().await.unwrap();
            let request = client.service().last();
            assert_eq!(request.headers().contains_key(field), told, "{field} to {url}");
        }
    }
}

#[tokio::test]
async fn credentials_are_sensitive() {
    let client = client();
    let fields = [("authorization", "Bearer s3cret"), ("private-token", "s3cret")];
    let one_by_one = fields.iter().fold(client.get("/a"), |request, (name, value)| {
        request.header(HeaderName::from_static(name), HeaderValue::from_static(value))
    });
    let headers = fields
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    for request in [one_by_one, client.get("/a").headers(HeaderMap::from_iter(headers))] {
        request.send().await.unwrap();
        let request = client.service().last();
        assert!(request.headers().values().all(HeaderValue::is_sensitive));
        assert!(!format!("{request:?}").contains("s3cret"), "{request:?}");
    }
}

#[test]
fn one_request_has_credentials_of_its_own() {
    let client = client().default_header(header::AUTHORIZATION, HeaderValue::from_static("all"));
    let get = || client.get("/a");
    for (request, expected) in [
        (get(), "all"),
        (get().basic_auth("aladdin", Some("open sesame")), "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        // RFC 7617, section 2.1.
        (get().basic_auth("test", Some("123£")), "Basic dGVzdDoxMjPCow=="),
        (get().basic_auth("test", Some("1:2")), "Basic dGVzdDoxOjI="),
        (get().basic_auth("k3y", None), "Basic azN5Og=="),
        (get().basic_auth("", Some("k3y")), "Basic OmszeQ=="),
        (get().bearer_auth("mF_9.B5f-4.1JqM"), "Bearer mF_9.B5f-4.1JqM"),
        (get().basic_auth("a", None).bearer_auth("b"), "Bearer b"),
    ] {
        let request = request.build().unwrap();
        let fields: Vec<_> = request.headers().get_all(header::AUTHORIZATION).iter().collect();
        assert_eq!(fields, [expected]);
        assert!(fields[0].is_sensitive());
    }
    let control = "a user name or password must not have control characters: trim it";
    let bearer = "a bearer token must be of visible ASCII, and not empty: trim it";
    for (request, expected) in [
        (get().basic_auth("a:s3cret", None), "a user name must not have a colon"),
        (get().basic_auth("s3cret\n", None), control),
        (get().basic_auth("a", Some("s3cret\0")), control),
        (get().bearer_auth("s3cret\n"), bearer),
        (get().bearer_auth("s3cret x"), bearer),
        (get().bearer_auth("s3crét"), bearer),
        (get().bearer_auth(""), bearer),
    ] {
        let error = request.build().unwrap_err();
        assert_eq!(error.to_string(), format!("cannot make the request GET /a: {expected}"));
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}

#[tokio::test(start_paused = true)]
async fn layers_are_told_what_was_wished() {
    let client = client();
    let wish = client.post("/a").timeout(Duration::from_secs(3)).idempotent().idempotency_key("k");
    wish.extension(7_u8).send().await.unwrap();
    let request = client.service().last();
    let deadline = Deadline::of(request.extensions()).unwrap();
    assert_eq!(deadline.0, (Instant::now() + Duration::from_secs(3)).into_std());
    assert!(Idempotent::is(request.extensions()));
    assert_eq!(request.headers()["idempotency-key"], "k");
    assert_eq!(request.extensions().get(), Some(&7_u8));

    client.get("/a").timeout(Duration::MAX).send().await.unwrap();
    assert_eq!(Deadline::of(client.service().last().extensions()), None);
}

#[tokio::test]
async fn a_form_with_a_stream_is_read_as_it_is_sent() {
    let client = client();
    let form =
        Multipart::new().text("a", "1").part("f", Part::new(pieces(vec![Ok(b"x"), Ok(b"yz")])));
    let _ = client.post("/a").header("content-type", "x/y").multipart(form).send().await.unwrap();
    let request = client.service().last();
    let content_type = request.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let (_, boundary) = content_type.split_once("; boundary=").unwrap();
    assert_eq!(request.body().size_hint().exact(), None);
    let body = String::from_utf8(sent(request).await).unwrap();
    assert_eq!(body.matches(boundary).count(), 3);
    assert!(body.contains("name=\"f\"\r\n\r\nxyz\r\n--"), "{body}");

    // A stream that knows its length.
    let part = || Part::stream(http_body_util::Full::new(bytes::Bytes::from("xyz")));
    let _ = client.post("/a").multipart(Multipart::new().part("f", part())).send().await.unwrap();
    let request = client.service().last();
    let length = request.body().size_hint().exact().unwrap();
    assert_eq!(sent(request).await.len() as u64, length);

    let form = Multipart::new().text("a", "1").part("f", Part::new(pieces(vec![Err("disk")])));
    let _ = client.post("/a").multipart(form).send().await.unwrap();
    let body = client.service().last().into_body();
    let error = http_body_util::BodyExt::collect(body).await.unwrap_err();
    assert_eq!(error.to_string(), "disk");
}

#[tokio::test]
async fn a_stream_is_as_long_as_was_said_or_fails() {
    let client = client();
    const SHORT: &str = "the body is shorter than the 3 bytes that were said: check its length";
    const LONG: &str = "the body is longer than the 3 bytes that were said: check its length";
    for (parts, expected) in [
        (vec![Ok(&b"x"[..]), Ok(b"yz")], Ok("xyz")),
        (vec![Ok(b"xyz"), Ok(b"")], Ok("xyz")),
        (vec![Ok(b"xy")], Err(SHORT)),
        (vec![], Err(SHORT)),
        (vec![Ok(b"xyzz")], Err(LONG)),
        (vec![Ok(b"xyz"), Ok(b"z")], Err(LONG)),
        (vec![Ok(b"x"), Err("disk")], Err("disk")),
    ] {
        let body = || Body::stream_with_length(pieces(parts.clone()), 3);
        client.post("/a").body(body()).send().await.unwrap();
        let form = Multipart::new().part("f", Part::stream_with_length(pieces(parts.clone()), 3));
        let plain = client.service().last().into_body();
        client.post("/a").multipart(form).send().await.unwrap();
        let whole = client.service().last().into_body();
        assert_eq!(plain.size_hint().exact(), Some(3));
        let length = whole.size_hint().exact().unwrap();
        for (body, length) in [(plain, 3), (whole, length)] {
            match (http_body_util::BodyExt::collect(body).await, expected) {
                (Ok(read), Ok(expected)) => {
                    let read = read.to_bytes();
                    assert_eq!(read.len() as u64, length);
                    assert!(str::from_utf8(&read).unwrap().contains(expected));
                }
                (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
                (found, expected) => panic!("{found:?}, and not {expected:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_not_as_long_as_was_said_is_never_taken_for_whole() {
    let server = Server::start(|seen| reply(if seen.body == "xyz" { 200 } else { 400 }, "")).await;
    for versions in [HttpVersions::Http1, HttpVersions::Http2] {
        let client = Client::builder().no_proxy().http_versions(versions);
        let client = client.base_url(server.url("/")).build().unwrap();
        // It is said with the body, or in a field.
        for in_field in [false, true] {
            let send = async |parts| {
                let request = match in_field {
                    false => client.post("/").body(Body::stream_with_length(pieces(parts), 3)),
                    true => client.post("/").body(pieces(parts)).header("content-length", 3),
                };
                request.send().await.map(|response| response.status().as_u16())
            };
            assert_eq!(send(vec![Ok(b"x"), Ok(b"yz")]).await.unwrap(), 200);
            // What is beyond comes in the piece that has the last byte, or in one of its own.
            for parts in [vec![Ok(&b"xyzz"[..])], vec![Ok(b"xyz"), Ok(b"z")], vec![Ok(b"xy")]] {
                send(parts.clone()).await.expect_err(&format!("{versions:?} {in_field} {parts:?}"));
            }
        }
    }
    // A body that breaks off is none to the server.
    assert_eq!(server.seen().iter().filter(|seen| seen.body == "xyz").count(), 4);
}
