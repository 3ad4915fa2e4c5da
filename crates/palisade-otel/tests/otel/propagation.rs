use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, Response, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    propagation::{Extractor, TextMapCompositePropagator, TextMapPropagator},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::{
    propagation::{BaggagePropagator, TraceContextPropagator},
    trace::Sampler,
};
use palisade_core::{Origins, Typed};
use palisade_otel::{GlobalPropagator, Propagate, TraceContext};
use palisade_retry::{Backoff, RetryLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Call, Frames, Telemetry, request, response, value};

/// A service that answers with these statuses, then with 200, and keeps the
/// header fields that came.
#[derive(Clone, Default)]
struct Api {
    statuses: Arc<Mutex<VecDeque<u16>>>,
    came: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Api {
    fn new(statuses: impl IntoIterator<Item = u16>) -> Self {
        let statuses = Arc::new(Mutex::new(statuses.into_iter().collect()));
        Self { statuses, ..Self::default() }
    }

    fn service(
        &self,
    ) -> impl Service<Call, Response = Response<Frames>, Error = io::Error, Future: Send> + Clone
    {
        let api = self.clone();
        service_fn(move |request: Call| {
            api.came.lock().unwrap().push(request.headers().clone());
            let status = api.statuses.lock().unwrap().pop_front().unwrap_or(200);
            std::future::ready(Ok(response(status)))
        })
    }

    /// The fields of this name that came, one for each request.
    fn came(&self, name: &str) -> Vec<Option<String>> {
        let came = self.came.lock().unwrap();
        let text = |headers: &HeaderMap| Some(headers.get(name)?.to_str().unwrap().to_owned());
        came.iter().map(text).collect()
    }
}

fn ours() -> Origins {
    Origins::new(["https://api.example"])
}

#[tokio::test]
async fn only_named_origins_are_told() {
    for (origins, uri, told) in [
        (None, "https://api.example/", false),
        (Some(ours()), "https://api.example/users", true),
        (Some(ours()), "https://API.example:443/users", true),
        (Some(ours()), "https://evil.example/", false),
        (Some(ours()), "https://api.example@evil.example/", false),
        (Some(ours()), "http://api.example/", false),
        (Some(ours()), "https://api.example:8443/", false),
        (Some(ours()), "/users", false),
        (Some(Origins::any()), "/users", true),
        (Some(Origins::any()), "https://evil.example/", true),
    ] {
        let (telemetry, api) = (Telemetry::new(), Api::default());
        let layer = telemetry.layer::<Typed>();
        let layer = match origins {
            None => layer,
            Some(origins) => layer.propagate(origins),
        };
        let client = layer.layer(api.service());
        drop(client.oneshot(request("GET", uri)).await.unwrap());
        assert_eq!(api.came("traceparent")[0].is_some(), told, "{uri}");
        if !told {
            assert!(api.came.lock().unwrap()[0].is_empty(), "{uri}");
        }
    }
}

#[tokio::test]
async fn each_attempt_has_its_own_span_and_parent_in_one_trace() {
    let (telemetry, api) = (Telemetry::new(), Api::new([503, 503]));
    let client = ServiceBuilder::new()
        .layer(RetryLayer::http().backoff(Backoff::constant(std::time::Duration::ZERO)))
        .layer(telemetry.layer().propagate(ours()))
        .service(api.service());
    let parent = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    // A span outside of retry, as of the operation that the call is for.
    let _operation = Context::new().with_remote_span_context(parent).attach();
    let answer = client.oneshot(request("GET", "https://api.example/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);

    let spans = telemetry.spans();
    let resends: Vec<_> =
        spans.iter().map(|span| value(span, "http.request.resend_count")).collect();
    assert_eq!(resends, [None, Some(1.into()), Some(2.into())]);
    let sent: Vec<_> = api.came("traceparent").into_iter().map(Option::unwrap).collect();
    let expected: Vec<_> = spans
        .iter()
        .map(|span| {
            assert_eq!(span.span_context.trace_id(), TraceId::from(7));
            assert_eq!(span.parent_span_id, SpanId::from(8));
            format!("00-{}-{}-01", TraceId::from(7), span.span_context.span_id())
        })
        .collect();
    assert_eq!(sent, expected);
    let mut distinct = sent;
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 3);
}

#[tokio::test]
async fn what_the_caller_has_set_stays() {
    for name in ["traceparent", "tracestate"] {
        let (telemetry, api) = (Telemetry::new(), Api::default());
        let client = telemetry.layer().propagate(ours()).layer(api.service());
        let mut request = request("GET", "https://api.example/");
        request.headers_mut().insert(name, "a=b".parse().unwrap());
        drop(client.oneshot(request).await.unwrap());
        assert_eq!(api.came(name), [Some("a=b".to_owned())]);
        assert_eq!(api.came.lock().unwrap()[0].len(), 1);
        assert_eq!(telemetry.spans().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_to_a_stranger_tells_it_nothing() {
    let (telemetry, api) = (Telemetry::new(), Api::new([302]));
    let client = telemetry.layer().propagate(ours()).layer(api.service());
    // As a layer that follows redirects does it, outside.
    let mut first = request("GET", "https://api.example/");
    let (mut head, body) = first.clone().into_parts();
    head.uri = "https://evil.example/".parse().unwrap();
    palisade_core::Attempt::count_resend(&mut head.extensions);
    for request in [std::mem::take(&mut first), Call::from_parts(head, body)] {
        drop(client.clone().oneshot(request).await.unwrap());
    }
    let [ours, theirs] = api.came("traceparent").try_into().unwrap();
    assert!(ours.is_some());
    assert_eq!(theirs, None);
    let [_, second] = telemetry.spans().try_into().unwrap();
    assert_eq!(value(&second, "http.request.resend_count"), Some(1.into()));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_says_so() {
    let (telemetry, api) = (Telemetry::sampled(Sampler::AlwaysOff), Api::default());
    let client = telemetry.layer().propagate(ours()).layer(api.service());
    drop(client.oneshot(request("GET", "https://api.example/")).await.unwrap());
    assert!(api.came("traceparent")[0].as_ref().unwrap().ends_with("-00"));
}

struct Fields<'h>(&'h HeaderMap);

impl Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// A context with a span, and with baggage.
fn context(state: &[(&str, &str)]) -> Context {
    let state = TraceState::from_key_value(state.iter().copied()).unwrap();
    let span =
        SpanContext::new(TraceId::from(1), SpanId::from(2), TraceFlags::SAMPLED, true, state);
    Context::new().with_remote_span_context(span).with_baggage([KeyValue::new("tenant", "blue")])
}

#[test]
fn the_propagator_of_the_sdk_reads_what_is_written() {
    for state in [&[][..], &[("a", "b"), ("c", "d")]] {
        let (context, mut headers) = (context(state), HeaderMap::new());
        TraceContext.propagate(&context, &mut headers);
        let parent = "00-00000000000000000000000000000001-0000000000000002-01";
        assert_eq!(headers["traceparent"], parent);
        assert_eq!(headers.contains_key("tracestate"), !state.is_empty());
        assert!(!headers.contains_key("baggage"));
        let read = TraceContextPropagator::new().extract(&Fields(&headers));
        assert_eq!(read.span().span_context(), context.span().span_context());
    }
}

#[test]
fn there_may_be_no_span() {
    let mut headers = HeaderMap::new();
    TraceContext.propagate(&Context::new(), &mut headers);
    assert!(headers.is_empty());
}

#[test]
fn every_propagator_does() {
    let mut headers = HeaderMap::new();
    // Nothing, while there is none.
    GlobalPropagator.propagate(&context(&[]), &mut headers);
    assert!(headers.is_empty());

    let both = || {
        TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ])
    };
    opentelemetry::global::set_text_map_propagator(both());
    let mut global = HeaderMap::new();
    GlobalPropagator.propagate(&context(&[]), &mut global);
    both().propagate(&context(&[]), &mut headers);
    assert_eq!(headers, global);
    assert_eq!(headers["baggage"], "tenant=blue");

    // What is empty is not sent, and what is there stays.
    assert!(!headers.contains_key("tracestate"));
    headers.clear();
    headers.insert("baggage", "own=1".parse().unwrap());
    both().propagate(&context(&[]), &mut headers);
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn the_propagator_can_be_set() {
    let (telemetry, api) = (Telemetry::new(), Api::default());
    let layer = telemetry.layer().propagate(ours()).propagator(BaggagePropagator::new());
    let client = layer.layer(api.service());
    let _tenant = context(&[]).attach();
    drop(client.oneshot(request("GET", "https://api.example/")).await.unwrap());
    assert_eq!(api.came("baggage"), [Some("tenant=blue".to_owned())]);
    assert_eq!(api.came("traceparent"), [None]);
}
