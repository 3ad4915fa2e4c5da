use std::{
    error::Error as _,
    future, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use palisade_client::{Body, Error, Kind, Problem, Report, validate_fn};
use palisade_core::{BoxError, ErrorKind, Refusal};
use serde::Deserialize;
use tower::service_fn;

use crate::api::{answer, api, pieces};

#[derive(Debug, Deserialize, PartialEq)]
struct User {
    id: u32,
}

/// What a client makes of an answer.
async fn read(make: impl Fn() -> Response<Body> + Clone) -> Result<User, Error> {
    api(move |_| make()).get("/users/{id}").path("id", 7).send().await?.json().await
}

#[tokio::test]
async fn a_value_is_read() {
    for body in [r#"{"id":7}"#, "\u{feff}{\"id\":7}", " {\"id\":7}\n"] {
        assert_eq!(
            read(move || answer(200, "application/json", body)).await.unwrap(),
            User { id: 7 }
        );
    }
    let split = || pieces(vec![Ok(b"{\"i"), Ok(b""), Ok(b"d\":7}")]);
    assert_eq!(read(move || answer(201, "", split())).await.unwrap(), User { id: 7 });
}

#[tokio::test]
async fn what_went_wrong_is_told() {
    let json = "application/json";
    let broken = || pieces(vec![Ok(b"{\"id\":"), Err("reset")]);
    for (make, kind, text) in [
        (
            &(|| answer(404, "text/html", "<b>s3cret</b>")) as &(dyn Fn() -> Response<Body> + Sync),
            Kind::Status,
            "answer to GET /users/{id} has status 404 Not Found",
        ),
        (
            &|| answer(200, "text/html; charset=utf-8", "<b>s3cret</b>"),
            Kind::ContentType,
            "answer to GET /users/{id} is `text/html` and not JSON: check the URL, or be `lenient`",
        ),
        (
            &|| answer(200, json, r#"{"id":"s3cret"}"#),
            Kind::Decode,
            "answer to GET /users/{id} does not decode at `id` (line 1, column 14)",
        ),
        (
            &|| answer(200, json, ""),
            Kind::Decode,
            "answer to GET /users/{id} does not decode at `.` (line 1, column 0)",
        ),
        (
            &|| answer(200, json, broken()),
            Kind::Body,
            "body of the answer to GET /users/{id} broke off",
        ),
    ] {
        let error = read(make).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        let mut told = format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(cause) = source {
            told += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[tokio::test]
async fn an_error_keeps_the_start_of_the_body() {
    let error = read(|| answer(500, "", vec![b'x'; 100_000])).await.unwrap_err();
    assert_eq!((error.body().unwrap().len(), error.is_truncated()), (64 * 1024, true));
    let error = read(|| answer(500, "", pieces(vec![Ok(b"abc"), Err("reset")]))).await.unwrap_err();
    assert_eq!((error.kind(), &error.body().unwrap()[..]), (Kind::Status, &b"abc"[..]));
    assert!(error.is_truncated());
    let error = read(|| answer(200, "", "oops")).await.unwrap_err();
    assert_eq!((error.kind(), &error.body().unwrap()[..]), (Kind::Decode, &b"oops"[..]));
    assert!(!error.is_truncated());
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit() {
    let body = r#"{"id":7}"#;
    let client = api(move |_| answer(200, "", body)).body_limit(body.len());
    let response = client.get("/a").send().await.unwrap();
    assert!(response.json::<User>().await.is_ok());
    let response = client.get("/a").send().await.unwrap().body_limit(body.len() - 1);
    let error = response.json::<User>().await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert_eq!(
        error.to_string(),
        "answer to GET /a is longer than 7 bytes: raise `body_limit`, or read it piece by piece from `into_body`"
    );
    let response = client.get("/a").send().await.unwrap().body_limit(7);
    assert_eq!(response.bytes().await.unwrap_err().kind(), Kind::TooLarge);
}

#[tokio::test]
async fn a_body_that_is_not_told_to_be_too_long_is_cut_off() {
    let client =
        api(|_| answer(200, "", pieces(vec![Ok(b"12"), Ok(b"34"), Err("not read")]))).body_limit(3);
    let error = client.get("/a").send().await.unwrap().json::<u32>().await.unwrap_err();
    assert_eq!((error.kind(), &error.body().unwrap()[..]), (Kind::TooLarge, &b"123"[..]));
}

/// A body that says how long it is, and must not be read.
struct Unread(u64);

impl http_body::Body for Unread {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, BoxError>>> {
        panic!("read, although it is too long");
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_that_is_told_to_be_too_long_is_not_read() {
    let client = api(|_| answer(200, "", Body::stream(Unread(10_000_000_000)))).body_limit(1 << 20);
    let error = client.get("/a").send().await.unwrap().json::<User>().await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    let error = client.get("/a").send().await.unwrap().text().await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
}

#[tokio::test]
async fn trailers_are_none_of_the_value() {
    let full = Full::new(bytes::Bytes::from("7"));
    let trailers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("x"))]);
    let make = move || full.clone().with_trailers(future::ready(Some(Ok(trailers.clone()))));
    let client = api(move |_| answer(200, "", Body::stream(make())));
    assert_eq!(client.get("/a").send().await.unwrap().json::<u32>().await.unwrap(), 7);
}

#[test]
fn an_error_is_a_pointer() {
    fn check<E: std::error::Error + Send + Sync + 'static>() -> usize {
        size_of::<Result<(), E>>()
    }
    assert_eq!(check::<Error>(), size_of::<usize>());
}

#[tokio::test]
async fn nothing_is_a_value_where_it_may_be() {
    let client = api(|_| answer(204, "text/plain", Body::empty()));
    assert_eq!(client.get("/a").send().await.unwrap().json::<Option<User>>().await.unwrap(), None);
    client.get("/a").send().await.unwrap().json::<()>().await.unwrap();
    let client = api(|_| answer(200, "text/plain", pieces(vec![])));
    assert_eq!(client.get("/a").send().await.unwrap().json::<Option<User>>().await.unwrap(), None);
}

#[tokio::test]
async fn who_is_lenient_takes_any_type() {
    let client = api(|_| answer(200, "text/plain", r#"{"id":7}"#));
    assert!(client.get("/a").send().await.unwrap().json::<User>().await.is_err());
    assert!(client.get("/a").send().await.unwrap().lenient().json::<User>().await.is_ok());
    let client = client.lenient();
    assert!(client.get("/a").send().await.unwrap().json::<User>().await.is_ok());
}

#[tokio::test]
async fn text_drops_its_mark_and_is_utf8() {
    let client = api(|_| answer(200, "", "\u{feff}häh"));
    assert_eq!(client.get("/a").send().await.unwrap().text().await.unwrap(), "häh");
    let client = api(|_| answer(200, "", &b"ab\xff"[..]));
    let error = client.get("/a").send().await.unwrap().text().await.unwrap_err();
    assert_eq!(error.decode().unwrap().column(), 3);
    assert_eq!(error.source().unwrap().to_string(), "body is not UTF-8");
}

#[tokio::test]
async fn a_body_can_be_read_piece_by_piece() {
    let client = api(|_| answer(500, "", pieces(vec![Ok(b"a"), Ok(b"b")])));
    let mut body = client.get("/a").send().await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
}

#[tokio::test]
async fn an_error_is_told_in_the_words_of_the_api() {
    #[derive(Deserialize)]
    struct Code {
        code: u32,
    }
    let client = api(|_| answer(409, "application/json", r#"{"code":5}"#));
    let refused =
        client.get("/a").send().await.unwrap().json_or::<User, Code>().await.unwrap().unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.value().code), (409, 5));

    for body in ["", "<html>", "{}"] {
        let client = api(move |_| answer(502, "text/html", body));
        let error =
            client.get("/a").send().await.unwrap().json_or::<User, Code>().await.unwrap_err();
        assert_eq!((error.kind(), error.status().unwrap().as_u16()), (Kind::Status, 502));
    }
}

#[tokio::test]
async fn problems_are_read() {
    let body =
        r#"{"type":"https://api.example/broke","title":"No credit","status":"x","balance":30}"#;
    let make = move || {
        let mut response = answer(403, "application/problem+json", body);
        response.headers_mut().insert(header::RETRY_AFTER, 7.into());
        response
    };
    let error = read(make).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.title(), problem.member::<u8>("balance")), (Some("No credit"), Some(30)));
    assert_eq!(error.status().unwrap().as_u16(), 403);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert!(error.to_string().ends_with("has status 403 Forbidden: try again in 7 s"));

    let response = api(move |_| make()).get("/a").send().await.unwrap();
    let refused = response.json_or::<User, Problem>().await.unwrap().unwrap_err();
    assert_eq!(refused.value().title(), Some("No credit"));
}

#[tokio::test]
async fn who_asks_for_success_gets_the_body_of_the_failure() {
    let client = api(|request| {
        let status = if request.uri().path() == "/v1/ok" { 200 } else { 404 };
        answer(status, "", "words")
    });
    let response = client.get("/ok").send().await.unwrap().error_for_status().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "words");
    let response = client.get("/no").send().await.unwrap();
    let error = response.error_for_status().await.unwrap_err();
    assert_eq!(&error.body().unwrap()[..], b"words");
}

#[tokio::test]
async fn what_is_not_valid_is_named_by_its_path() {
    let rule = validate_fn(|user: &User, report: &mut Report| {
        if user.id < 10 {
            report.add("id", format!("{} is below 10", user.id));
        }
    });
    let client = api(|_| answer(200, "", r#"{"id":7}"#));
    let error =
        client.get("/a").send().await.unwrap().json::<User>().valid_by(rule).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Validation);
    assert_eq!(error.report().unwrap().failures().next(), Some(("id", "7 is below 10")));
    assert_eq!(error.source().unwrap().to_string(), "not valid: `id`");
    let fine = validate_fn(|_: &User, _: &mut Report| ());
    assert!(client.get("/a").send().await.unwrap().json::<User>().valid_by(&fine).await.is_ok());
}

#[tokio::test]
async fn what_the_service_says_is_understood() {
    let refusal = || BoxError::from(Refusal::new(ErrorKind::Limited).after(Duration::from_secs(3)));
    let refused = || BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
    let late = || BoxError::from(io::Error::from(io::ErrorKind::TimedOut));
    for (make, kind, after, connect, timeout) in [
        (
            &refusal as &dyn Fn() -> BoxError,
            ErrorKind::Limited,
            Some(Duration::from_secs(3)),
            false,
            false,
        ),
        (&refused, ErrorKind::Connect, None, true, false),
        (&late, ErrorKind::Timeout, None, false, true),
    ] {
        let service =
            service_fn(|_: http::Request<Body>| future::ready(Err::<Response<Body>, _>(make())));
        let client = palisade_client::ClientOf::from_service(service);
        let error = client.get("https://api.example/a?key=s3cret").send().await.unwrap_err();
        assert_eq!((error.kind(), error.service_kind()), (Kind::Service, Some(kind)));
        assert_eq!(error.retry_after(), after);
        assert_eq!((error.is_connect(), error.is_timeout()), (connect, timeout));
        assert_eq!(error.to_string(), "no answer to GET /a");
        assert_eq!(error.uri().unwrap().query(), Some("key=s3cret"));
        assert_eq!(ErrorKind::of(&error), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_whatever_the_service_does() {
    let service =
        service_fn(|_: http::Request<Body>| future::pending::<Result<Response<Body>, BoxError>>());
    let client = palisade_client::ClientOf::from_service(service).base_url("https://api.example");
    let start = tokio::time::Instant::now();
    let error = client.get("/a").timeout(Duration::from_secs(3)).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_while_the_body_is_read() {
    let start = tokio::time::Instant::now();
    let never = || {
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<_, BoxError>,
        >()))
    };
    let client = api(move |_| answer(200, "", never()));
    let response = client.get("/a").timeout(Duration::from_secs(3)).send().await.unwrap();
    let error = response.json::<User>().await.unwrap_err();
    assert_eq!((error.kind(), error.is_timeout()), (Kind::Body, true));
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn an_error_has_a_label() {
    let json = "application/json";
    let failed = |status, content_type, body: &'static str| async move {
        let client = api(move |_| answer(status, content_type, body));
        client.get("/").send().await.unwrap().json::<u32>().await.unwrap_err()
    };
    assert_eq!(failed(404, json, "1").await.label(), "404");
    assert_eq!(failed(200, json, "x").await.label(), "decode");
    assert_eq!(failed(200, "text/html", "1").await.label(), "content_type");
    let broken = api(|_| answer(200, json, pieces(vec![Ok(b"1"), Err("s3cret")])));
    let error = broken.get("/").send().await.unwrap().json::<u32>().await.unwrap_err();
    assert_eq!((error.label(), error.kind().as_str()), ("other", "body"));
    let error = broken.get("/{id}").send().await.unwrap_err();
    assert_eq!((error.label(), error.kind().to_string()), ("request", "request".to_owned()));
}
