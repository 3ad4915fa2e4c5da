use std::error::Error as StdError;

use futures_util::StreamExt;
use http::{HeaderName, HeaderValue};
use palisade_client::{Body, ClientOf, Error, Multipart, Part, Problem, Report, validate_fn};
use serde::Deserialize;
use tower::service_fn;

use crate::api::{answer, api, pieces};

/// What must not be told by anything that a log could hold.
const SECRET: &str = "s3cret";

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct User {
    id: u32,
}

fn check(told: &str) {
    assert!(!told.contains(SECRET), "{told}");
}

fn check_error(error: &Error) {
    let mut next: Option<&dyn StdError> = Some(error);
    while let Some(error) = next {
        check(&format!("{error} {error:?} {error:#?}"));
        next = error.source();
    }
}

#[tokio::test]
async fn no_error_tells_one() {
    let json = "application/json";
    let rule = validate_fn(|_: &User, report: &mut Report| report.add("id", SECRET));
    let answers: [&(dyn Fn() -> http::Response<Body> + Sync); 9] = [
        &|| answer(200, json, r#"{"id":"s3cret"}"#),
        &|| answer(200, json, r#""s3cret"#),
        &|| answer(200, json, "s3cret"),
        &|| answer(200, "text/html", "s3cret"),
        &|| answer(200, "s3cret", "1"),
        &|| answer(200, json, r#"{"id":1}"#),
        &|| answer(500, json, "s3cret"),
        &|| answer(403, "application/problem+json", r#"{"detail":"s3cret","title":"s3cret"}"#),
        &|| answer(200, json, pieces(vec![Ok(b"\"s3cret"), Err("reset")])),
    ];
    for make in answers {
        let client = api(|_| {
            let mut response = make();
            response.headers_mut().insert("set-cookie", HeaderValue::from_static(SECRET));
            response
        });
        for request in [
            client.get("/users/{id}").path("id", SECRET).query(&[("key", SECRET)]),
            client.get(format!("/{SECRET}?key={SECRET}")),
        ] {
            let request = request.header("authorization", SECRET).header("x-api-key", SECRET);
            let response = request.send().await.unwrap();
            check(&format!("{response:?}"));
            let content_type = response.headers()["content-type"].clone();
            let error = response.json::<User>().valid_by(&rule).await.unwrap_err();
            // A media type is no secret.
            if content_type != SECRET {
                check_error(&error);
            }
        }
    }
}

#[tokio::test]
async fn no_request_tells_one() {
    let client = api(|_| answer(200, "", ""))
        .base_url("https://api.example/hooks/s3cret")
        .default_header(HeaderName::from_static("x-key"), HeaderValue::from_static(SECRET));
    check(&format!("{client:?}"));
    let form = Multipart::new().text("a", SECRET).part("b", Part::from(SECRET));
    check(&format!("{form:?} {:?}", Part::from(SECRET)));
    let request = client
        .post("/users/{id}")
        .path("id", SECRET)
        .query(&[("key", SECRET)])
        .header("x-key", SECRET)
        .extension(SECRET)
        .multipart(form);
    check(&format!("{request:?}"));
    check(&format!("{:?}", request.send()));
    check(&format!("{:?}", client.get("/a".to_owned() + SECRET)));
    check(&format!("{:?}", client.fetch_all([client.get(SECRET.to_owned())], 1).responses()));
    for request in [
        client.get("/users").path("id", SECRET),
        client.get(format!("https://{SECRET}.example/")),
        client.get(format!("https://a:{SECRET}@api.example/")),
        client.get(format!("/../{SECRET}")),
        client.get("/users/{id}").path("id", format!("../{SECRET}")),
        client.get("/users").header("x-key", format!("{SECRET}\n")),
        client.get("/users").header(format!("{SECRET} "), "1"),
    ] {
        check_error(&request.send().await.unwrap_err());
    }
    check_error(&client.clone().try_base_url("https://a:s3cret@api.example").unwrap_err());
}

#[tokio::test]
async fn no_word_of_an_api_tells_one() {
    let client = api(|_| answer(403, "application/problem+json", r#"{"detail":"s3cret"}"#));
    let response = client.get("/a").send().await.unwrap();
    let refused = response.json_or::<User, Problem>().await.unwrap().unwrap_err();
    check(&format!("{refused} {refused:?} {:?}", refused.value()));
}

#[tokio::test]
async fn what_others_say_is_in_the_source_alone() {
    let service =
        service_fn(|_: http::Request<Body>| async { Err::<http::Response<Body>, _>(SECRET) });
    let client = ClientOf::from_service(service).base_url("https://api.example");
    let error = client.get("/a").send().await.unwrap_err();
    check(&format!("{error} {error:?}"));
    assert_eq!(error.source().unwrap().to_string(), SECRET);
}

#[tokio::test]
async fn an_error_of_many_tells_none() {
    let service =
        service_fn(|_: http::Request<Body>| async { Err::<http::Response<Body>, _>("down") });
    let client = ClientOf::from_service(service).base_url("https://api.example");
    let requests = [client.get("/users/{id}").path("id", SECRET)];
    let results: Vec<_> = client.fetch_all(requests, 1).json::<User>().collect().await;
    check_error(results[0].as_ref().unwrap_err());
}
