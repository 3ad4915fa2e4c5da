use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE,
        USER_AGENT,
    },
};

use crate::inner::Body;

static HEADERS: [(HeaderName, &str); 8] = [
    (ACCEPT, "application/json"),
    (ACCEPT_ENCODING, "gzip, br, zstd"),
    (ACCEPT_LANGUAGE, "en-GB, en;q=0.8"),
    (AUTHORIZATION, "Bearer 6fa1d4c9e2b84f0d9d3a7c51"),
    (CACHE_CONTROL, "no-store"),
    (CONTENT_TYPE, "application/json"),
    (USER_AGENT, "inventory-sync/2.14 (build 8811)"),
    (HeaderName::from_static("x-request-id"), "01946f0e-7a6c-7d4e-9b1a-4f2d8c3b5e70"),
];

static CACHEABLE: [(HeaderName, &str); 3] = [
    (ACCEPT, "application/json"),
    (ACCEPT_ENCODING, "gzip, br, zstd"),
    (USER_AGENT, "inventory-sync/2.14 (build 8811)"),
];

static ANONYMOUS: [(HeaderName, &str); 4] = [
    (ACCEPT, "application/json"),
    (ACCEPT_ENCODING, "gzip, br, zstd"),
    (USER_AGENT, "inventory-sync/2.14 (build 8811)"),
    (HeaderName::from_static("x-request-id"), "01946f0e-7a6c-7d4e-9b1a-4f2d8c3b5e70"),
];

const URI: &str = "http://api.example/v1/items?page=2";

pub fn get() -> Request<Body> {
    get_of(URI)
}

pub(crate) fn get_of(uri: &str) -> Request<Body> {
    request(Method::GET, uri, &HEADERS, Bytes::new())
}

/// A GET that a cache may answer: for nobody in particular, and with three headers.
pub(crate) fn cacheable(uri: &str) -> Request<Body> {
    request(Method::GET, uri, &CACHEABLE, Bytes::new())
}

/// A GET without credentials, to where they may go.
pub(crate) fn anonymous() -> Request<Body> {
    request(Method::GET, "https://api.example/v1/items?page=2", &ANONYMOUS, Bytes::new())
}

pub fn post() -> Request<Body> {
    request(
        Method::POST,
        URI,
        &HEADERS,
        Bytes::copy_from_slice(br#"{"sku":"A-1042","quantity":3}"#),
    )
}

/// A request as a program makes it: what is not known at compile time owns its buffer.
fn request(
    method: Method,
    uri: &str,
    fields: &'static [(HeaderName, &str)],
    body: Bytes,
) -> Request<Body> {
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().expect("a literal URI is valid");

    let headers = request.headers_mut();
    headers.reserve(fields.len());
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).expect("a literal header is valid");
        headers.insert(name, value);
    }
    request
}
