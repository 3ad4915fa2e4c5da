//! The stack has a type with switches, and one without for who sets nothing that needs them.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use palisade_circuit_breaker::CircuitBreakerLayer;
use palisade_client::{Body, Client, ClientBuilder, Timeouts};
use palisade_core::{BoxError, ByAuthority, causes};
use palisade_retry::{Backoff, Jitter, RetryLayer};
use palisade_testkit::RecordingObserver;
use tokio::time::Instant;
use tower::{ServiceExt, layer::util::Identity, service_fn};

use crate::servers::get;

const SECOND: Duration = Duration::from_secs(1);

/// What the next requests come to, again and again.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Status(u16),
    Redirect,
    Fails,
    Hangs,
    // In the middle of its body.
    Stalls,
}

impl Answer {
    async fn come(self) -> Result<Response<Body>, BoxError> {
        let begun =
            futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("x")))]);
        let stalls =
            StreamBody::new(futures_util::StreamExt::chain(begun, futures_util::stream::pending()));
        Ok(match self {
            Self::Status(status) => {
                Response::builder().status(status).body(Body::from("answer"))?
            }
            Self::Redirect => {
                Response::builder().status(307).header("location", "/there").body(Body::empty())?
            }
            Self::Fails => return Err("reset".into()),
            Self::Hangs => pending().await,
            Self::Stalls => Response::new(Body::stream(stalls)),
        })
    }
}

/// All that a caller and an observer see of some calls, and when.
async fn seen(client: ClientBuilder, answers: &'static [Answer]) -> Vec<String> {
    let count = Arc::new(AtomicUsize::new(0));
    let api = service_fn(move |_: Request<Body>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        answers[number % answers.len()].come()
    });
    let observer = Arc::new(RecordingObserver::new());
    let backoff = Backoff::constant(SECOND).jitter(Jitter::None);
    let retry = RetryLayer::http().backoff(backoff).seed(7);
    let breaker = CircuitBreakerLayer::http().keyed(ByAuthority).seed(7);
    let client = client.retry(retry).circuit_breaker(breaker).body_idle_timeout(3 * SECOND);
    let client = client.observer(observer.clone()).build_over(api).unwrap();

    let (start, mut seen) = (Instant::now(), Vec::new());
    for number in 0..12 {
        let mut request = get("https://api.example/users");
        if number % 4 == 3 {
            request.extensions_mut().insert(Timeouts::new().attempt(SECOND).total(2 * SECOND));
        }
        seen.push(match client.clone().oneshot(request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let hint = (body.size_hint().exact(), body.is_end_stream());
                format!("{} {:?} {hint:?} {:?}", head.status, head.headers, body.collect().await)
            }
            Err(error) => causes(&*error).map(|cause| format!("{cause}; ")).collect(),
        });
        seen.push(format!("{:?} {:?}", start.elapsed(), observer.take()));
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn with_switches_and_without_the_same_is_seen() {
    use Answer::{Fails, Hangs, Redirect, Stalls, Status};
    for answers in [
        &[Status(200), Status(503)][..],
        &[Status(503)],
        &[Fails, Status(200)],
        &[Fails],
        &[Hangs, Status(200)],
        &[Hangs],
        &[Stalls, Redirect, Status(404)],
        &[Redirect, Hangs, Fails],
    ] {
        let plain = seen(Client::builder(), answers).await;
        let whole = seen(Client::builder().attempt_layer(Identity::new()), answers).await;
        assert_eq!(plain, whole, "{answers:?}");
    }
}
