use std::{cell::Cell, rc::Rc};

use http::{Request, Response};
use palisade_client::{Body, ClientOf, DecodeLayer, Decoded, Kind, Report, validate_fn};
use palisade_core::{BoxError, Classify, HttpClassify, Outcome, find_cause};
use tower::{Layer, ServiceExt, retry, service_fn};

use crate::api::{answer, pieces};

/// What a layer makes of an answer.
async fn decode(
    make: impl Fn() -> Response<Body>,
) -> Result<Response<Decoded<u32, Body>>, BoxError> {
    let api = service_fn(|_: Request<Body>| std::future::ready(Ok::<_, BoxError>(make())));
    let rule = validate_fn(|number: &u32, report: &mut Report| {
        if *number == 0 {
            report.add(".", "is nothing");
        }
    });
    DecodeLayer::json()
        .body_limit(10)
        .valid_by(rule)
        .layer(api)
        .oneshot(Request::new(Body::empty()))
        .await
}

#[tokio::test]
async fn what_does_not_decode_is_an_error() {
    let broken = || pieces(vec![Ok(b"1"), Err("reset")]);
    for (make, kind, outcome) in [
        (
            &(|| answer(200, "", "{\"a\":")) as &dyn Fn() -> Response<Body>,
            Kind::Decode,
            Outcome::Failed,
        ),
        (&|| answer(200, "", "[1"), Kind::Decode, Outcome::Failed),
        (&|| answer(200, "text/html", "<p>"), Kind::ContentType, Outcome::Failed),
        (&|| answer(200, "", "00000000001"), Kind::TooLarge, Outcome::Failed),
        (&|| answer(200, "", "0"), Kind::Validation, Outcome::Failed),
        (&|| answer(200, "", broken()), Kind::Body, Outcome::Failed),
        (&|| answer(200, "", " "), Kind::Decode, Outcome::Transient),
    ] {
        let error = decode(make).await.unwrap_err();
        let found = find_cause::<palisade_client::Error>(&*error).unwrap();
        assert_eq!(found.kind(), kind, "{error}");
        let judged = HttpClassify::new().classify(Err::<&Response<()>, _>(&error));
        assert_eq!(judged, outcome, "{error}");
    }
}

#[tokio::test]
async fn what_is_no_success_passes() {
    let response = decode(|| answer(503, "text/html", "<p>")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(matches!(response.into_body(), Decoded::Body(_)));
}

#[derive(Clone)]
struct Once(bool);

impl retry::Policy<Request<()>, Response<Decoded<u32, Body>>, BoxError> for Once {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<()>,
        result: &mut Result<Response<Decoded<u32, Body>>, BoxError>,
    ) -> Option<Self::Future> {
        (result.is_err() && std::mem::take(&mut self.0)).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, _: &Request<()>) -> Option<Request<()>> {
        Some(Request::new(()))
    }
}

#[tokio::test]
async fn who_retries_outside_sees_what_was_cut_short() {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let api = service_fn(move |_: Request<()>| {
        counted.set(counted.get() + 1);
        let body = if counted.get() == 1 { "[" } else { "7" };
        std::future::ready(Ok::<_, BoxError>(answer(200, "", body)))
    });
    let service = retry::RetryLayer::new(Once(true)).layer(DecodeLayer::<u32>::json().layer(api));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert!(matches!(response.into_body(), Decoded::Value(7)));
    assert_eq!(calls.get(), 2);
}

#[tokio::test]
async fn a_client_over_the_layer_tells_what_the_layer_did() {
    let api = service_fn(|request: Request<Body>| {
        let body = request.uri().path()[1..].to_owned();
        std::future::ready(Ok::<_, BoxError>(answer(200, "", body)))
    });
    let service = DecodeLayer::<u32>::json().layer(api);
    let client = ClientOf::from_service(service).base_url("https://api.example");
    let response = client.get("/7").send().await.unwrap();
    assert!(matches!(response.into_body(), Decoded::Value(7)));
    let error = client.get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Decode);
    assert_eq!(error.to_string(), "answer to GET /x does not decode at `.` (line 1, column 1)");
}
