//! The head that further attempts send. The input: a method, a target and perhaps a version on the
//! first line, and a field on each of the others.

#![no_main]

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use libfuzzer_sys::{Corpus, fuzz_target};
use palisade_fuzz::{Upstream, fields};
use palisade_retry::{Backoff, Repeatable, RetryLayer, Unlimited, requests_fn};
use tower_layer::Layer;
use tower_service::Service;

const ATTEMPTS: usize = 3;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(request) = request(data) else {
        return Corpus::Reject;
    };
    let unavailable = || {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    let upstream = Upstream::new((1..ATTEMPTS).map(|_| unavailable()));
    let layer = RetryLayer::http()
        .attempts(ATTEMPTS as u32)
        .requests(requests_fn(|_| Repeatable::Always))
        .backoff(Backoff::constant(Duration::ZERO))
        .budget(Unlimited);
    let call =
        layer.layer(upstream.clone()).call(request.clone().map(|()| Full::<Bytes>::default()));
    // Nothing is waited for, so no runtime is needed.
    let polled = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(response)) if response.status() == StatusCode::OK));

    let calls = upstream.calls();
    assert_eq!(calls.len(), ATTEMPTS);
    for (_, sent) in &calls {
        same(sent, &request);
    }
    Corpus::Keep
});

fn request(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    *request.version_mut() = match words.next() {
        Some(b"HTTP/1.0") => Version::HTTP_10,
        Some(b"HTTP/2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    *request.headers_mut() = fields(lines);
    Some(request)
}

fn same(sent: &Request<()>, request: &Request<()>) {
    assert_eq!(sent.method(), request.method());
    assert_eq!(sent.version(), request.version());
    assert_eq!(sent.uri().scheme_str(), request.uri().scheme_str());
    // The texts: the types do not tell upper case from lower.
    assert_eq!(sent.uri().to_string(), request.uri().to_string());
    assert_eq!(
        sent.uri().path_and_query().map(ToString::to_string),
        request.uri().path_and_query().map(ToString::to_string),
    );
    assert!(listed(sent).eq(listed(request)));
}

/// The fields in their order.
fn listed(request: &Request<()>) -> impl Iterator<Item = (&HeaderName, &[u8], bool)> {
    let fields = request.headers().iter();
    fields.map(|(name, value)| (name, value.as_bytes(), value.is_sensitive()))
}
