use std::{
    convert::Infallible,
    future::{Ready, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use palisade_auth::{
    AuthBypass, AuthError, AuthLayer, Clock, Moment, Recovery, Sign, SignLayer, Signable,
    SignedBody, Signing, Tokens, Unsignable,
};
use palisade_core::{BoxError, ErrorKind, Origins, Refusal, find_cause};
use palisade_testkit::{RecordingObserver, contract};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};

use crate::{
    signers::{Fetch, Keys, Proof, Rfc9421, SigV4},
    support::Source,
};

/// What a server got.
type Got = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// What is asked for is sent to a server that keeps it.
async fn send<L, S, B>(layer: L, request: Request<B>) -> Result<(HeaderMap, Bytes), BoxError>
where
    L: Layer<Server, Service = S>,
    S: Service<Request<B>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    let got = Got::default();
    layer.layer(Server { got: Arc::clone(&got), ready: false }).oneshot(request).await?;
    let got = got.lock().unwrap().pop();
    Ok(got.expect("it was sent"))
}

/// Panics if it is called unready.
struct Server {
    got: Got,
    ready: bool,
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self { got: Arc::clone(&self.got), ready: false }
    }
}

impl<B> Service<Request<B>> for Server
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "it was called without being polled");
        let got = Arc::clone(&self.got);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            got.lock().unwrap().push((parts.headers, body));
            Ok(Response::new(Full::default()))
        })
    }
}

fn layer() -> SignLayer<SigV4> {
    SignLayer::new(SigV4::default(), Origins::new(["https://example.amazonaws.com"]))
}

fn aws(method: &str) -> http::request::Builder {
    Request::builder().method(method).uri("https://example.amazonaws.com/")
}

/// A body that gives these one after another, and waits in between.
fn streaming(parts: [&'static str; 2]) -> impl Body<Data = Bytes, Error = io::Error> + Unpin {
    let [first, second] = parts.map(|part| Ok(Frame::data(Bytes::from(part))));
    let second = async {
        tokio::task::yield_now().await;
        second
    };
    let later = stream::once(Box::pin(second));
    StreamBody::new(stream::StreamExt::chain(stream::iter([first]), later))
}

fn unsignable(error: &BoxError) -> &Unsignable {
    let auth = find_cause::<AuthError>(&**error).unwrap();
    assert_eq!(auth.recovery(), Recovery::FixRequest);
    find_cause::<Unsignable>(&**error).unwrap()
}

#[derive(Debug)]
struct At(u64);

impl Clock for At {
    fn now(&self) -> Moment {
        Moment::new(UNIX_EPOCH + Duration::from_secs(self.0), Duration::ZERO)
    }
}

#[tokio::test]
async fn message_signatures_are_those_of_the_rfc() {
    let request = Request::post("https://example.com/foo?param=Value&Pet=dog")
        .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .header("content-type", "application/json")
        .body(Full::<Bytes>::from(r#"{"hello": "world"}"#))
        .unwrap();
    let layer = SignLayer::new(Rfc9421, Origins::new(["https://example.com"]));
    let (headers, body) = send(layer.clock(At(1_618_884_473)), request).await.unwrap();
    let signature = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:";
    assert_eq!(headers["signature"], signature);
    assert_eq!(body, r#"{"hello": "world"}"#);
}

#[tokio::test]
async fn signatures_of_version_4_are_those_of_its_test_suite() {
    for (method, content_type, body, signature) in [
        ("GET", None, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", None, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "POST",
            Some("application/x-www-form-urlencoded"),
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ] {
        let mut request = aws(method);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Full::<Bytes>::from(body)).unwrap();
        let (headers, sent) = send(layer(), request).await.unwrap();
        let field = headers["authorization"].to_str().unwrap();
        assert_eq!(field.rsplit('=').next(), Some(signature), "{method} {body}");
        assert_eq!(sent, body);
    }
}

#[tokio::test]
async fn a_body_in_memory_is_signed_and_not_copied() {
    let parts = [Bytes::from("Param1="), Bytes::from("value1")];
    let frames = parts.clone().map(|part| Ok::<_, io::Error>(Frame::data(part)));
    let got = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<SignedBody<_>>| {
        let got = Arc::clone(&got);
        async move {
            let (parts, body) = request.into_parts();
            let mut body = pin!(body);
            assert_eq!(body.size_hint().exact(), Some(13));
            while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                got.lock().unwrap().push(frame.unwrap().into_data().unwrap());
            }
            assert!(body.is_end_stream());
            Ok::<_, Infallible>(Response::new(parts.headers["authorization"].clone()))
        }
    });
    let request = aws("POST").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(StreamBody::new(stream::iter(frames))).unwrap();
    let response = layer().layer(service).oneshot(request).await.unwrap();
    // As of one piece.
    assert!(response.body().to_str().unwrap().ends_with("9473a"));
    let got: Vec<_> = got.lock().unwrap().iter().map(|data| data.as_ptr()).collect();
    assert_eq!(got, parts.each_ref().map(|part| part.as_ptr()));
}

#[tokio::test]
async fn a_body_in_several_pieces_and_its_trailers_arrive() {
    let data = Bytes::from("Param1=").chain(Bytes::from("value1"));
    let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
    let frames = [Ok(Frame::data(data)), Ok::<_, io::Error>(Frame::trailers(trailers))];
    let service = service_fn(|request: Request<SignedBody<_>>| async move {
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-end"], "1");
        Ok::<_, Infallible>(Response::new(body.to_bytes()))
    });
    let request = aws("POST").body(StreamBody::new(stream::iter(frames))).unwrap();
    let response = layer().layer(service).oneshot(request).await.unwrap();
    assert_eq!(response.body(), "Param1=value1");
}

#[tokio::test]
async fn a_body_that_streams_is_refused_or_unsigned() {
    let request = || aws("PUT").body(streaming(["one ", "two"])).unwrap();
    let observer = Arc::new(RecordingObserver::new());
    let error = send(layer().observer(observer.clone()), request()).await.unwrap_err();
    assert!(unsignable(&error).is_streaming());
    let refusal = find_cause::<Refusal>(&*error).unwrap();
    assert_eq!(refusal.kind(), ErrorKind::Auth);
    assert_eq!(observer.take().len(), 1);

    let (headers, body) = send(layer().allow_unsigned_bodies(), request()).await.unwrap();
    assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    assert_eq!(body, "one two");
}

#[tokio::test]
async fn a_body_that_has_no_end_is_not_read_for_ever() {
    struct Endless(usize);

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 += 1;
            assert!(self.0 < 20, "far more was read than may be");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1000])))))
        }
    }

    let request = aws("PUT").body(Endless(0)).unwrap();
    let error = send(layer().longest_body(10_000), request).await.unwrap_err();
    assert!(unsignable(&error).is_streaming());
    // Without a look at it.
    let request = aws("PUT").body(Known(10_001)).unwrap();
    let error = send(layer().longest_body(10_000), request).await.unwrap_err();
    assert!(unsignable(&error).is_streaming());
}

#[tokio::test]
async fn a_body_of_nothing_that_has_no_end_is_not_read_for_ever() {
    struct Hollow(usize);

    impl Body for Hollow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 += 1;
            assert!(self.0 < 20_000, "far more was read than may be");
            Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
        }
    }

    let request = aws("PUT").body(Hollow(0)).unwrap();
    let error = send(layer().longest_body(10_000), request).await.unwrap_err();
    assert!(unsignable(&error).is_streaming());
}

/// Says how long it is, and must not be polled.
struct Known(u64);

impl Body for Known {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("it was polled")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_that_fails_is_not_sent() {
    let frames = [Ok(Frame::data(Bytes::from("x"))), Err(io::Error::other("gone"))];
    let request = aws("PUT").body(StreamBody::new(stream::iter(frames))).unwrap();
    let error = send(layer().allow_unsigned_bodies(), request).await.unwrap_err();
    assert!(!unsignable(&error).is_streaming());
    assert_eq!(find_cause::<io::Error>(&*error).unwrap().to_string(), "gone");
}

#[tokio::test]
async fn other_origins_get_no_signature() {
    let request = |uri: &str| Request::get(uri).body(Full::<Bytes>::default()).unwrap();
    for uri in ["https://evil.example/", "http://example.amazonaws.com/", "/"] {
        let (headers, _) = send(layer(), request(uri)).await.unwrap();
        assert!(headers.is_empty(), "{uri}");
        let error = send(layer().fail_outside(), request(uri)).await.unwrap_err();
        let auth = find_cause::<AuthError>(&*error).unwrap();
        assert_eq!(auth.recovery(), Recovery::FixRequest);
    }
    let mut bypass = request("https://example.amazonaws.com/");
    bypass.extensions_mut().insert(AuthBypass);
    let (headers, _) = send(layer().fail_outside(), bypass).await.unwrap();
    assert!(headers.is_empty());
}

#[tokio::test]
async fn a_key_is_waited_for() {
    let origins = || Origins::new(["https://example.amazonaws.com"]);
    let request = || aws("GET").body(Full::<Bytes>::default()).unwrap();
    let keys = Keys { fetch: Some(Fetch::Works), asked: Arc::default() };
    let layer = SignLayer::new(SigV4 { keys: keys.clone() }, origins());
    let (headers, _) = send(layer, request()).await.unwrap();
    assert!(headers["authorization"].to_str().unwrap().ends_with("763fbf31"));
    assert_eq!(keys.asked.load(Ordering::SeqCst), 2);

    let keys = Keys { fetch: Some(Fetch::Fails), ..Keys::default() };
    let error = send(SignLayer::new(SigV4 { keys }, origins()), request()).await.unwrap_err();
    assert_eq!(find_cause::<AuthError>(&*error).unwrap().to_string(), "no key");
}

/// As with DPoP: what is sent again has another token and another nonce.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_is_signed_anew() {
    let proofs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&proofs);
    let service = service_fn(move |request: Request<SignedBody<Full<Bytes>>>| {
        let mut seen = seen.lock().unwrap();
        let (call, proof) = (seen.len(), request.headers()["dpop"].to_str().unwrap());
        seen.push(proof.to_owned());
        let response = Response::builder()
            .status(if call == 0 { 401 } else { 200 })
            .header("dpop-nonce", format!("n{call}"))
            .body(Full::<Bytes>::default());
        async move { Ok::<_, BoxError>(response.unwrap()) }
    });
    let origins = || Origins::new(["https://api.example"]);
    let service = ServiceBuilder::new()
        .layer(AuthLayer::new(Tokens::new(Source::default()), origins()))
        .layer(SignLayer::new(Proof::default(), origins()))
        .service(service);
    for _ in 0..2 {
        service.clone().oneshot(crate::support::post("x")).await.unwrap();
    }
    let uri = crate::support::URI;
    assert_eq!(
        *proofs.lock().unwrap(),
        [
            format!("POST {uri} Bearer t1 "),
            format!("POST {uri} Bearer t2 n0"),
            format!("POST {uri} Bearer t2 n1"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    // The probe knows one type of bodies.
    let back = || {
        MapRequestLayer::new(|request: Request<SignedBody<Full<Bytes>>>| {
            request.map(|mut body| {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never();
                let data = frame.expect("it is in memory").map(|frame| frame.unwrap().into_data());
                Full::new(data.map_or_else(Bytes::new, |data| data.unwrap()))
            })
        })
    };
    let layer = |origins| ServiceBuilder::new().layer(SignLayer::new(Quiet, origins)).layer(back());
    contract!(layer(Origins::any())).check().await;
    contract!(layer(Origins::new(["https://else.example"]))).check().await;
}

/// Sees that there is a digest, and adds nothing.
struct Quiet;

impl Sign for Quiet {
    type Wait = Ready<Result<(), AuthError>>;

    fn sign(&self, request: &mut Signable<'_>) -> Signing<Self::Wait> {
        assert!(request.body().sha256().is_some());
        if request.headers().contains_key("x") {
            let shown = format!("{request:?} {:?}", request.body());
            assert!(!shown.contains("canary"), "{shown}");
        }
        Signing::Done
    }
}

#[tokio::test]
async fn nothing_shows_what_is_signed_and_with_what() {
    let uri = "https://example.amazonaws.com/?canary";
    let request = || Request::post(uri).header("x", "canary").body(Full::<Bytes>::from("canary"));
    let origins = Origins::new(["https://example.amazonaws.com"]);
    let looks = service_fn(|request: Request<SignedBody<Full<Bytes>>>| async move {
        let shown = format!("{:?}", request.body());
        assert!(!shown.contains("canary"), "{shown}");
        assert!(request.headers().get("x-amz-date").is_none());
        Ok::<_, Infallible>(Response::new(()))
    });
    let layer = SignLayer::new(Quiet, origins.clone());
    let mut service = layer.layer(looks);
    let future = service.ready().await.unwrap().call(request().unwrap());
    let mut shown = format!("{layer:?} {future:?}");
    future.await.unwrap();

    let frames = [Ok(Frame::data(Bytes::from("canary"))), Err(io::Error::other("gone"))];
    let body = StreamBody::new(stream::iter(frames));
    let error = send(layer, request().unwrap().map(|_| body)).await.unwrap_err();
    shown += &format!("{error} {error:?} {:?}", unsignable(&error));
    let body = streaming(["canary", "canary"]);
    let layer = SignLayer::new(Quiet, origins);
    let error = send(layer, request().unwrap().map(|_| body)).await.unwrap_err();
    shown += &format!("{error} {error:?} {:?}", unsignable(&error));
    assert!(!shown.contains("canary"), "{shown}");
}
