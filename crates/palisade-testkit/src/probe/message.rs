//! What is said to a probe, and what it says.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::Full;

use super::ProbeRequest;

/// Names the call; the probe's answer repeats it.
pub(crate) const NUMBER: HeaderName = HeaderName::from_static("x-probe-number");

/// The extension of rich messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark;

/// A GET request with a URI and eight headers of its own, none of which shares memory with another request.
pub fn probe_request(number: u64) -> ProbeRequest {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri(&format!("http://probe.test/{number}"));
    let headers = request.headers_mut();
    headers.insert(NUMBER, owned(number.to_string()));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), owned(value.to_owned()));
    }
    request
}

/// A request that has a bit of everything a request can have.
pub(crate) fn rich_request(method: Method, number: u64) -> ProbeRequest {
    let mut request = probe_request(number);
    *request.uri_mut() = uri(&format!("http://probe.test/{number}?page=2&page=3&q="));
    *request.version_mut() = Version::HTTP_2;
    *request.body_mut() = match method {
        Method::GET => Full::default(),
        _ => Full::new(Bytes::from(format!("body of {number}"))),
    };
    *request.method_mut() = method;
    request.extensions_mut().insert(Mark);
    let mut secret = owned("Bearer secret".to_owned());
    secret.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, secret);
    append_two(request.headers_mut(), &header::COOKIE);
    request
}

/// Gives a response a bit of everything its head can have.
pub(crate) fn enrich<B>(response: &mut Response<B>) {
    *response.version_mut() = Version::HTTP_2;
    response.extensions_mut().insert(Mark);
    append_two(response.headers_mut(), &header::SET_COOKIE);
}

const HEADERS: [(&str, &str); 7] = [
    ("accept", "application/json"),
    ("accept-encoding", "gzip, br"),
    ("accept-language", "en"),
    ("user-agent", "palisade-testkit"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("x-request-id", "4f3c8f0e-6f0c-4a1b-9d55-2f1d6a1f1c11"),
    ("x-tenant", "palisade"),
];

fn append_two(headers: &mut HeaderMap, name: &HeaderName) {
    for value in ["b=2", "a=1"] {
        headers.append(name.clone(), HeaderValue::from_static(value));
    }
}

fn uri(uri: &str) -> Uri {
    uri.parse().expect("a number fits into a path")
}

fn owned(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("plain ASCII is a header value")
}
