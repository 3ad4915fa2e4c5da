use http::{Method, Request, Version};
use http_body_util::BodyExt;
use opentelemetry::{
    KeyValue, Value,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{
    SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SpanData,
};
use palisade_core::{Attempt, Endpoint};
use tower::{Layer as _, ServiceExt, service_fn};

use crate::support::{Call, Layer, Telemetry, request, response, text, value};

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");

async fn send_by(layer: impl FnOnce(Layer) -> Layer, request: Call) -> SpanData {
    let telemetry = Telemetry::new();
    let client = layer(telemetry.layer())
        .layer(service_fn(async |_| Ok::<_, std::io::Error>(response(200))));
    let body = client.oneshot(request).await.unwrap().into_body();
    body.collect().await.unwrap();
    telemetry.span()
}

async fn send(request: Call) -> SpanData {
    send_by(|layer| layer, request).await
}

#[tokio::test]
async fn tells_what_was_sent_where() {
    for (uri, address, port, scheme, url) in [
        (
            "https://api.example/users/7?page=2",
            Some("api.example"),
            Some(443),
            Some("https"),
            Some("https://api.example/users/7?page=2"),
        ),
        (
            "http://api.example",
            Some("api.example"),
            Some(80),
            Some("http"),
            Some("http://api.example/"),
        ),
        (
            "http://user:secret@[::1]:8080/?sig=secret&a",
            Some("::1"),
            Some(8080),
            Some("http"),
            Some("http://REDACTED:REDACTED@[::1]:8080/?sig=REDACTED&a"),
        ),
        ("/users/7", None, None, None, None),
        ("api.example:8443", Some("api.example"), Some(8443), None, None),
    ] {
        let span = send(request("GET", uri)).await;
        assert_eq!(text(&span, "server.address").as_deref(), address, "{uri}");
        assert_eq!(value(&span, "server.port"), port.map(Value::I64), "{uri}");
        assert_eq!(text(&span, "url.scheme").as_deref(), scheme, "{uri}");
        assert_eq!(text(&span, "url.full").as_deref(), url, "{uri}");
    }
}

#[tokio::test]
async fn the_host_field_names_the_server_where_the_target_does_not() {
    let mut request = request("GET", "/users/7");
    request.headers_mut().insert("host", "api.example:8080".parse().unwrap());
    let span = send(request).await;
    assert_eq!(text(&span, "server.address").as_deref(), Some("api.example"));
    assert_eq!(value(&span, "server.port"), Some(Value::I64(8080)));
}

#[tokio::test]
async fn secret_parameters_are_those_that_are_named() {
    let request = request("GET", "https://api.example/?sig=1&token=2");
    let span = send_by(|layer| layer.redact(["token"]), request).await;
    let url = "https://api.example/?sig=1&token=REDACTED";
    assert_eq!(text(&span, "url.full").as_deref(), Some(url));
}

#[tokio::test]
async fn is_named_by_method_and_template() {
    let other = Some("_OTHER");
    for (method, template, name, said, original) in [
        ("GET", true, "GET /users/{id}", Some("GET"), None),
        ("GET", false, "GET", Some("GET"), None),
        ("QUERY", false, "QUERY", Some("QUERY"), None),
        ("BREW", true, "HTTP /users/{id}", other, Some("BREW")),
        ("BREW", false, "HTTP", other, Some("BREW")),
        ("get", false, "HTTP", other, Some("get")),
    ] {
        let mut request = request(method, "https://api.example/users/7");
        if template {
            GET_USER.put_into(request.extensions_mut());
        }
        let span = send(request).await;
        assert_eq!(span.name, name);
        assert_eq!(text(&span, "http.request.method").as_deref(), said);
        assert_eq!(text(&span, "http.request.method_original").as_deref(), original);
        let template = template.then_some("/users/{id}");
        assert_eq!(text(&span, "url.template").as_deref(), template);
    }
}

#[tokio::test]
async fn methods_are_those_that_are_named() {
    let brew = || Method::from_bytes(b"BREW").unwrap();
    for (method, name) in [("BREW", "BREW"), ("GET", "HTTP")] {
        let request = request(method, "https://api.example/");
        let span = send_by(|layer| layer.methods([brew()]), request).await;
        assert_eq!(span.name, name);
    }
}

#[tokio::test]
async fn a_resend_says_so() {
    for resends in [0, 1, 2] {
        let mut request = request("GET", "https://api.example/");
        (0..resends).for_each(|_| Attempt::count_resend(request.extensions_mut()));
        let expected = (resends != 0).then_some(Value::I64(resends));
        assert_eq!(value(&send(request).await, "http.request.resend_count"), expected);
    }
}

#[tokio::test]
async fn tells_what_was_answered() {
    for (status, version, said) in [
        (200, Version::HTTP_10, "1.0"),
        (204, Version::HTTP_11, "1.1"),
        (302, Version::HTTP_2, "2"),
        (404, Version::HTTP_3, "3"),
    ] {
        let telemetry = Telemetry::new();
        let client = telemetry.layer().layer(service_fn(move |_: Call| {
            let mut response = response(status);
            *response.version_mut() = version;
            std::future::ready(Ok::<_, std::io::Error>(response))
        }));
        drop(client.oneshot(request("GET", "https://api.example/")).await.unwrap());
        let span = telemetry.span();
        let expected = Some(Value::I64(status.into()));
        assert_eq!(value(&span, "http.response.status_code"), expected);
        assert_eq!(text(&span, "network.protocol.version").as_deref(), Some(said));
    }
}

#[tokio::test]
async fn a_sampler_sees_what_the_conventions_say_it_should() {
    #[derive(Clone, Debug)]
    struct Asks;

    impl ShouldSample for Asks {
        fn should_sample(
            &self,
            _: Option<&opentelemetry::Context>,
            _: TraceId,
            name: &str,
            kind: &SpanKind,
            attributes: &[KeyValue],
            _: &[Link],
        ) -> SamplingResult {
            assert_eq!((name, kind), ("GET", &SpanKind::Client));
            let names: Vec<_> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            let wanted = ["http.request.method", "server.address", "server.port", "url.full"];
            assert!(wanted.iter().all(|wanted| names.contains(wanted)), "{names:?}");
            SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: Default::default(),
            }
        }
    }

    use opentelemetry::trace::TracerProvider;
    let provider = SdkTracerProvider::builder().with_sampler(Asks).build();
    let layer = palisade_otel::TraceLayer::new().tracer(provider.tracer("asks"));
    let client =
        layer.layer(service_fn(async |_: Request<_>| Ok::<_, std::io::Error>(response(200))));
    drop(client.oneshot(request("GET", "https://api.example/")).await.unwrap());
}
