//! Prints what Prometheus reads, with something in every family: `cargo xtask interop metrics` asks
//! Prometheus what it makes of that.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]

use std::{env, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade_core::{Cause, Endpoint, ErrorKind, Event, Observer, Outcome, Target};
use palisade_metrics::{Format, Registry};
use palisade_retry::{Backoff, RetryLayer};
use palisade_testkit::{FlakyApi, Reply, Script};
use tower::{ServiceBuilder, ServiceExt};

static USERS: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
// Nobody writes such a template, and it must not matter.
static ODD: Endpoint = Endpoint::new(Method::GET, "/\"odd\"\\\n{id} é\u{0}");

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let format = match env::args().nth(1).as_deref() {
        Some("prometheus") => Format::Prometheus,
        Some("open-metrics") => Format::OpenMetrics,
        _ => {
            eprintln!("say which: prometheus or open-metrics");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", filled().await.snapshot().render(format));
    ExitCode::SUCCESS
}

/// Metrics of a client that has met what there is.
async fn filled() -> Registry {
    let stream = Reply::ok("data: 1\n\n").header("content-type", "text/event-stream");
    let script = Script::new()
        .route("/flaky", [Reply::status(503), Reply::reset(), Reply::ok("hello")])
        .route("/cut", Reply::ok("hello").truncated(2))
        .route("/stream", stream)
        .route("/ok", Reply::ok("hello"));
    let api = FlakyApi::start(script).await;
    let metrics = Registry::new().max_authorities(2);
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(
            RetryLayer::http()
                .backoff(Backoff::constant(Duration::from_millis(1)))
                .observer(metrics.observer()),
        )
        .layer(metrics.attempts())
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());

    for (path, endpoint) in
        [("/flaky", &USERS), ("/cut", &USERS), ("/stream", &ODD), ("/ok", &ODD), ("/none", &ODD)]
    {
        let mut request = Request::get(api.url(path)).body(Full::from("hello")).unwrap();
        endpoint.put_into(request.extensions_mut());
        let response = client.clone().oneshot(request).await.unwrap();
        let _ = response.into_body().collect().await;
    }
    // Unread, of an odd method and without an endpoint.
    let request = Request::builder().method("BREW").uri(api.url("/ok")).body(Full::default());
    drop(client.clone().oneshot(request.unwrap()).await.unwrap());
    let refused = palisade_testkit::refused_addr();
    for host in [refused.to_string(), "[::1]:1".to_owned()] {
        let request = Request::get(format!("http://{host}/")).body(Full::default()).unwrap();
        client.clone().oneshot(request).await.unwrap_err();
    }

    let server = ServiceBuilder::new().layer(metrics.served().endpoints(&USERS)).service(client);
    let request = Request::get(api.url("/ok")).body(Full::default()).unwrap();
    let _ = server.oneshot(request).await.unwrap().into_body().collect().await;

    for target in [Target::default(), Target::new(Some(&ODD), None, Some("[::1]:8443"))] {
        tell(&metrics, target);
    }
    metrics
}

/// Each event once: no stack has all layers.
fn tell(observer: &impl Observer, target: Target<'_>) {
    let cause = Cause::new(Outcome::Transient, Err(ErrorKind::Timeout));
    let delay = Duration::ZERO;
    let (kind, reason) = (ErrorKind::Open, "tripped");
    for event in [
        Event::Retry { attempt: 1, delay, cause },
        Event::Settled { attempts: 2, delay, cause },
        Event::GaveUp { attempts: 3, delay, reason: "attempts", cause },
        Event::Breaker { from: "closed", to: "open", reason: "failure_rate", generation: 1 },
        Event::Refused { kind, reason, retry_after: None, enforced: true },
        Event::Refused { kind, reason, retry_after: None, enforced: false },
        Event::Waited { kind: ErrorKind::Limited, waited: Duration::from_millis(20) },
        Event::Paused { kind: ErrorKind::Limited, reason: "retry_after", delay },
        Event::Cache { status: "hit" },
        Event::Refreshed { result: "fetched", took: Duration::from_millis(300) },
        Event::Login { change: "renewed" },
    ] {
        observer.on_event(target, &event);
    }
}
