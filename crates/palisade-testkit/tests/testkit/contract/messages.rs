//! Whoever tampers with messages is told.

use std::future::{Ready, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body_util::Full;
use palisade_testkit::{ProbeRequest, Rule, contract};
use tower::{
    retry::{Policy, RetryLayer},
    util::{MapRequestLayer, MapResponseLayer},
};

use super::red::check;

type Tamper = fn(&mut ProbeRequest);

#[tokio::test(start_paused = true)]
async fn names_what_a_request_loses() {
    let faults: [(&str, Tamper); 9] = [
        ("method", |request| *request.method_mut() = Method::DELETE),
        ("path", |request| {
            *request.uri_mut() = "http://probe.test/".parse().unwrap();
        }),
        ("query", |request| {
            let path = request.uri().path();
            *request.uri_mut() = format!("http://probe.test{path}").parse().unwrap();
        }),
        ("version", |request| {
            *request.version_mut() = Version::HTTP_11;
        }),
        ("header", |request| {
            request.headers_mut().remove("x-tenant");
        }),
        ("repeated header", |request| {
            keep_one(request.headers_mut(), "cookie");
        }),
        ("secret", |request| {
            if let Some(secret) = request.headers_mut().get_mut("authorization") {
                secret.set_sensitive(false);
            }
        }),
        ("extension", |request| request.extensions_mut().clear()),
        ("body", |request| *request.body_mut() = Full::default()),
    ];
    for (what, fault) in faults {
        let contract = contract!(MapRequestLayer::new(move |mut request| {
            fault(&mut request);
            request
        }));
        let contract = contract.allocations(8);
        check(&contract.violations().await, Rule::Request, what);
    }
}

#[tokio::test(start_paused = true)]
async fn sees_what_a_request_gains() {
    let contract = contract!(MapRequestLayer::new(|mut request: ProbeRequest| {
        let headers = request.headers_mut();
        headers.insert("x-spy", HeaderValue::from_static("1"));
        request
    }));
    let contract = contract.allocations(8);
    check(&contract.violations().await, Rule::Request, "gains");
}

#[tokio::test(start_paused = true)]
async fn looks_at_later_attempts_too() {
    let contract = contract!(RetryLayer::new(Again { attempts: 2, success: false, same: false }));
    let contract = contract.allocations(10).future_size(512);
    check(&contract.violations().await, Rule::Request, "later");
}

#[tokio::test(start_paused = true)]
async fn counts_the_calls_for_a_success() {
    let contract = contract!(RetryLayer::new(Again { attempts: 2, success: true, same: true }));
    let contract = contract.allocations(20).future_size(512);
    check(&contract.violations().await, Rule::Request, "twice");
}

#[tokio::test(start_paused = true)]
async fn names_what_a_response_loses() {
    for lost in [
        Lost::Status(StatusCode::CREATED),
        Lost::Status(StatusCode::NOT_FOUND),
        Lost::Version,
        Lost::RepeatedHeader,
        Lost::Extension,
    ] {
        let contract = contract!(MapResponseLayer::new(move |response: Response<_>| {
            lost.in_response(response)
        }));
        let violations = contract.violations().await;
        check(&violations, Rule::Response, &format!("{lost:?}"));
    }
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug)]
enum Lost {
    Status(StatusCode),
    Version,
    RepeatedHeader,
    Extension,
}

impl Lost {
    fn in_response<B>(self, mut response: Response<B>) -> Response<B> {
        match self {
            Self::Status(status) if response.status() == status => {
                *response.status_mut() = StatusCode::OK;
            }
            Self::Status(_) => {}
            Self::Version => *response.version_mut() = Version::HTTP_11,
            Self::RepeatedHeader => keep_one(response.headers_mut(), "set-cookie"),
            Self::Extension => response.extensions_mut().clear(),
        }
        response
    }
}

fn keep_one(headers: &mut HeaderMap, name: &'static str) {
    if let Some(value) = headers.get(name).cloned() {
        headers.insert(name, value);
    }
}

/// Tries again at once.
#[derive(Clone)]
struct Again {
    attempts: u32,
    // Even what succeeded.
    success: bool,
    // What was sent before.
    same: bool,
}

impl<B, E> Policy<ProbeRequest, Response<B>, E> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut ProbeRequest,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Ready<()>> {
        let success = matches!(result, Ok(response) if response.status().is_success());
        if success && !self.success {
            return None;
        }
        self.attempts = self.attempts.checked_sub(1)?;
        if !self.same {
            *request.body_mut() = Full::new(Bytes::from_static(b"other"));
        }
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &ProbeRequest) -> Option<ProbeRequest> {
        Some(request.clone())
    }
}
