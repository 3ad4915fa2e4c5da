use std::{
    borrow::Cow,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use http::{Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Empty};
use opentelemetry::{
    KeyValue,
    trace::{Span, SpanBuilder, SpanContext, Status, Tracer},
};
use palisade_core::{BoxError, Classify, ErrorKind, Fault, Outcome, Typed};
use palisade_otel::TraceLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Call, Frames, Next, Telemetry, request, response, text, value};

fn get() -> Call {
    request("GET", "https://api.example/")
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A client whose answer is this.
fn client<F>(
    telemetry: &Telemetry,
    answer: F,
) -> impl Service<Call, Response = Response<palisade_otel::ResponseBody<Frames>>, Error = io::Error>
where
    F: Fn() -> io::Result<Response<Frames>>,
{
    telemetry.layer().layer(service_fn(move |_: Call| std::future::ready(answer())))
}

#[tokio::test]
async fn a_status_is_an_error_from_400_on() {
    for (status, error) in [
        (200, None),
        (304, None),
        (399, None),
        (400, Some("400")),
        (404, Some("404")),
        (503, Some("503")),
        (599, Some("599")),
    ] {
        let telemetry = Telemetry::new();
        let client = client(&telemetry, || Ok(response(status)));
        let body = client.oneshot(get()).await.unwrap().into_body();
        assert!(telemetry.spans().is_empty(), "the body has not ended");
        body.collect().await.unwrap();
        telemetry.check_ended(error);
        assert!(telemetry.span().start_time <= telemetry.span().end_time);
    }
}

#[tokio::test]
async fn who_drops_the_body_has_had_enough() {
    for (status, read, error) in
        [(200, false, None), (200, true, None), (404, false, Some("404")), (404, true, Some("404"))]
    {
        let telemetry = Telemetry::new();
        let answer = || {
            let frames = Frames::new([Next::Data("a"), Next::Data("b")]);
            Ok(Response::builder().status(status).body(frames).unwrap())
        };
        let mut body = client(&telemetry, answer).oneshot(get()).await.unwrap().into_body();
        if read {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        telemetry.check_ended(error);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_whatever_the_status() {
    for status in [200, 404] {
        let telemetry = Telemetry::new();
        let answer = || {
            let frames = Frames::new([Next::Data("a"), Next::Fail]);
            Ok(Response::builder().status(status).body(frames).unwrap())
        };
        let body = client(&telemetry, answer).oneshot(get()).await.unwrap().into_body();
        body.collect().await.unwrap_err();
        telemetry.check_ended(Some("body"));
        let code = value(&telemetry.span(), "http.response.status_code");
        assert_eq!(code, Some(i64::from(status).into()));
    }
}

#[tokio::test]
async fn an_empty_body_ends_with_the_head() {
    let telemetry = Telemetry::new();
    let client = telemetry.layer().layer(service_fn(async |_: Call| {
        Ok::<_, io::Error>(Response::new(Empty::<&[u8]>::new()))
    }));
    let response = client.oneshot(get()).await.unwrap();
    telemetry.check_ended(None);
    drop(response);
    telemetry.check_ended(None);
}

#[tokio::test]
async fn what_goes_on_for_ever_ends_with_the_head() {
    for (method, status, kind, at_head, error) in [
        ("GET", 200, "text/event-stream; charset=utf-8", true, None),
        ("GET", 503, "text/event-stream", true, Some("503")),
        ("GET", 101, "", true, None),
        ("CONNECT", 200, "", true, None),
        ("CONNECT", 407, "", false, Some("407")),
        ("GET", 200, "text/plain", false, None),
    ] {
        let telemetry = Telemetry::new();
        let client = client(&telemetry, move || {
            let mut response = response(status);
            response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
            Ok(response)
        });
        let response = client.oneshot(request(method, "https://api.example/")).await.unwrap();
        assert_eq!(telemetry.spans().len(), usize::from(at_head), "{method} {status} {kind}");
        drop(response);
        telemetry.check_ended(error);
    }
}

#[tokio::test]
async fn an_error_is_called_by_its_kind_and_not_by_its_text() {
    let kinds: [(fn() -> BoxError, _); 4] = [
        (|| io::Error::from(io::ErrorKind::ConnectionRefused).into(), "connect"),
        (|| io::Error::new(io::ErrorKind::TimedOut, "after 3 s at 10.0.0.1").into(), "timeout"),
        (|| Fault::new(ErrorKind::Tls, "the certificate of Jane Doe").into(), "tls"),
        (|| "a secret".into(), "other"),
    ];
    for (error, kind) in kinds {
        let telemetry = Telemetry::new();
        let client = telemetry.layer().layer(service_fn(move |_: Call| {
            std::future::ready(Err::<Response<Frames>, BoxError>(error()))
        }));
        client.oneshot(get()).await.unwrap_err();
        telemetry.check_ended(Some(kind));
        let span = format!("{:?}", telemetry.span());
        assert!(!["10.0.0.1", "Jane Doe", "secret"].iter().any(|text| span.contains(text)));
        assert!(telemetry.span().events.is_empty());
    }
}

/// Calls errors what this returns.
#[derive(Clone)]
struct Calls(fn() -> ErrorKind);

impl<R, E> Classify<R, E> for Calls {
    fn classify(&self, _: Result<&R, &E>) -> Outcome {
        Outcome::Failed
    }

    fn kind(&self, _: &E) -> ErrorKind {
        (self.0)()
    }
}

#[test]
fn what_an_error_is_called_can_be_set() {
    let calls: [(fn() -> ErrorKind, _); 2] =
        [(|| ErrorKind::Auth, "auth"), (|| panic!("the classifier panics"), "panic")];
    for (calls, kind) in calls {
        let telemetry = Telemetry::new();
        let layer = telemetry.layer::<Typed>().classify(Calls(calls));
        let mut client = layer.layer(service_fn(async |_: Call| Err::<Response<Frames>, _>(())));
        let _ = catch_unwind(AssertUnwindSafe(|| poll(client.call(get())).is_ready()));
        telemetry.check_ended(Some(kind));
    }
}

#[test]
fn who_drops_it_before_the_head_has_cancelled_it() {
    for polls in 0..3 {
        let telemetry = Telemetry::new();
        let mut client = telemetry.layer().layer(service_fn(async |_: Call| {
            std::future::pending::<io::Result<Response<Frames>>>().await
        }));
        let mut future = Box::pin(client.call(get()));
        for _ in 0..polls {
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert!(telemetry.spans().is_empty());
        drop(future);
        telemetry.check_ended(Some("cancelled"));
        assert_eq!(text(&telemetry.span(), "http.response.status_code"), None);
    }
}

#[test]
fn a_panic_is_an_error_wherever_it_comes_from() {
    let in_call = Telemetry::new();
    let mut client = in_call.layer().layer(service_fn(|_: Call| {
        if true {
            panic!("the service panics");
        }
        std::future::ready(Ok::<_, io::Error>(response(200)))
    }));
    catch_unwind(AssertUnwindSafe(|| drop(client.call(get())))).unwrap_err();
    in_call.check_ended(Some("panic"));

    let in_poll = Telemetry::new();
    let mut client = in_poll.layer().layer(service_fn(async |_: Call| {
        if true {
            panic!("the future panics");
        }
        Ok::<_, io::Error>(response(200))
    }));
    catch_unwind(AssertUnwindSafe(|| poll(client.call(get())).is_ready())).unwrap_err();
    in_poll.check_ended(Some("panic"));

    let in_body = Telemetry::new();
    let mut client = in_body.layer().layer(service_fn(async |_: Call| {
        Ok::<_, io::Error>(Response::new(Frames::new([Next::Data("a"), Next::Panic])))
    }));
    let Poll::Ready(response) = poll(client.call(get())) else { panic!("it is ready") };
    let mut body = response.unwrap().into_body();
    assert!(poll(body.frame()).is_ready());
    catch_unwind(AssertUnwindSafe(|| poll(body.frame()).is_ready())).unwrap_err();
    drop(body);
    in_body.check_ended(Some("panic"));
}

#[test]
fn a_service_that_is_not_ready_makes_no_span() {
    struct Unready;

    impl Service<Call> for Unready {
        type Response = Response<Frames>;
        type Error = io::Error;
        type Future = std::future::Ready<io::Result<Response<Frames>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
        }

        fn call(&mut self, _: Call) -> Self::Future {
            unreachable!("it is not ready")
        }
    }

    let telemetry = Telemetry::new();
    let mut client = telemetry.layer().layer(Unready);
    let ready = client.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Err(_))));
    assert!(telemetry.spans().is_empty());
}

/// A tracer whose spans write down what they are told, even once they ended.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Vec<String>>>);

impl Counts {
    fn tell(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

struct Counted {
    counts: Counts,
    context: SpanContext,
}

impl Tracer for Counts {
    type Span = Counted;

    fn build_with_context(&self, _: SpanBuilder, _: &opentelemetry::Context) -> Counted {
        Counted { counts: self.clone(), context: SpanContext::NONE }
    }
}

impl Span for Counted {
    fn add_event_with_timestamp<T: Into<Cow<'static, str>>>(
        &mut self,
        _: T,
        _: SystemTime,
        _: Vec<KeyValue>,
    ) {
        self.counts.tell("event");
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.counts.tell(format!("{}={}", attribute.key, attribute.value));
    }

    fn set_status(&mut self, _: Status) {
        self.counts.tell("status");
    }

    fn update_name<T: Into<Cow<'static, str>>>(&mut self, _: T) {
        self.counts.tell("name");
    }

    fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {
        self.counts.tell("link");
    }

    fn end_with_timestamp(&mut self, _: SystemTime) {
        self.counts.tell("end");
    }
}

// The SDK's spans forgive who ends them twice, and end when they are dropped.
#[tokio::test]
async fn a_span_is_told_its_end_once_and_nothing_later() {
    let head = ["http.response.status_code=200", "network.protocol.version=1.1"];
    let failed = |error: &str| vec![format!("error.type={error}"), "status".to_owned()];
    for (kind, frames, read, error) in [
        ("text/plain", vec![Next::Data("a")], true, None),
        ("text/plain", vec![Next::Data("a")], false, None),
        ("text/plain", vec![Next::Data("a"), Next::Fail], true, Some("body")),
        ("text/event-stream", vec![Next::Data("a"), Next::Fail], true, None),
    ] {
        let counts = Counts::default();
        let frames = Mutex::new(Some(Frames::new(frames)));
        let answer = || {
            let mut response = Response::new(frames.lock().unwrap().take().unwrap());
            response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
            Ok::<_, io::Error>(response)
        };
        let client = TraceLayer::new()
            .tracer(counts.clone())
            .layer(service_fn(|_: Call| std::future::ready(answer())));
        let body = client.oneshot(get()).await.unwrap().into_body();
        if read {
            let _ = body.collect().await;
        } else {
            drop(body);
        }
        let mut expected = head.map(ToOwned::to_owned).to_vec();
        expected.extend(error.into_iter().flat_map(failed));
        expected.push("end".to_owned());
        assert_eq!(*counts.0.lock().unwrap(), expected, "{kind} {error:?}");
    }

    let counts = Counts::default();
    let client = TraceLayer::new().tracer(counts.clone()).layer(service_fn(async |_: Call| {
        Err::<Response<Frames>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
    }));
    client.oneshot(get()).await.unwrap_err();
    let mut expected = failed("connect");
    expected.push("end".to_owned());
    assert_eq!(*counts.0.lock().unwrap(), expected);
}
