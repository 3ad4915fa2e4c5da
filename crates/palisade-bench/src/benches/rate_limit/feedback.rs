use std::hint::black_box;

use http::Response;
use palisade_rate_limit::{Learn, Standard};

use crate::subject::{BARE, Subject};

/// An answer that says nothing of a limit.
pub(in crate::benches) fn none() -> Vec<Subject> {
    reads(&[])
}

/// One that has the fields of the current draft.
pub(in crate::benches) fn ietf() -> Vec<Subject> {
    reads(&[
        ("ratelimit-policy", r#""default";q=100;w=60"#),
        ("ratelimit", r#""default";r=50;t=30"#),
    ])
}

fn reads(more: &[(&'static str, &'static str)]) -> Vec<Subject> {
    let usual = [
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("cache-control", "private, max-age=60"),
        ("vary", "accept-encoding"),
        ("server", "nginx"),
        ("x-request-id", "01946f0e-7a6c-7d4e-9b1a-4f2d8c3b5e70"),
    ];
    let mut response = Response::builder();
    for (name, value) in usual.iter().chain(more) {
        response = response.header(*name, *value);
    }
    let response = response.body(()).expect("valid fields");
    let (standard, other) = (Standard::default(), response.clone());
    vec![
        Subject::work(BARE, move || {
            black_box(black_box(&other).status());
        }),
        Subject::work("palisade", move || {
            black_box(standard.learn(black_box(&response)));
        }),
    ]
}
