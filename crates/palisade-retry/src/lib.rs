//! A [tower](tower_service) layer that retries HTTP requests: what may be sent
//! again, when it may pass, no sooner than the server asks, and within a
//! budget.
//!
//! ```
//! use std::{sync::{Arc, atomic::{AtomicU32, Ordering}}, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use palisade_retry::{Backoff, RetryInfo, RetryLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client: it answers 503, and asks to come back in a second.
//! let calls = Arc::new(AtomicU32::new(0));
//! let flaky = service_fn(move |_: Request<Full<Bytes>>| {
//!     let response = Response::builder().header("retry-after", "1");
//!     let response = match calls.fetch_add(1, Ordering::Relaxed) {
//!         0 => response.status(StatusCode::SERVICE_UNAVAILABLE).body(Full::default()),
//!         _ => response.body(Full::<Bytes>::from("hello")),
//!     };
//!     async { response }
//! });
//!
//! let client = ServiceBuilder::new()
//!     .layer(
//!         RetryLayer::http()
//!             .attempts(4)
//!             .backoff(Backoff::exponential(Duration::from_millis(50)).max(Duration::from_secs(5)))
//!             .deadline(Duration::from_secs(20)),
//!     )
//!     .service(flaky);
//!
//! let request = Request::get("https://api.example/greeting").body(Full::default())?;
//! let response = client.oneshot(request).await?;
//!
//! assert_eq!(response.status(), StatusCode::OK);
//! let info = response.extensions().get::<RetryInfo>().expect("it was retried");
//! assert_eq!(info.attempts(), 2);
//! assert!(info.delay() >= Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```
//!
//! The response and the error are those of the inner service, so the layer can
//! be put around any client and taken away again.
//!
//! # What is retried
//!
//! | what happened | requests |
//! |---|---|
//! | no connection, stream refused, GOAWAY, closed before sending | all |
//! | 429, or 403 with `Retry-After` or nothing remaining | all |
//! | refused by a limiter on this side, or by a breaker that says until when | all |
//! | 408, 425, 500, 502, 503, 504, reset, closed, timeout, broken TLS | idempotent ones, and those with an `Idempotency-Key` |
//! | everything else | none |
//!
//! The right half is up to [`Requests`] ([`RetryLayer::requests`]), the left
//! half to [`Classify`](palisade_core::Classify) ([`RetryLayer::classify`]);
//! one request can have it otherwise by a [`RetryOverride`] in its extensions.
//!
//! # When
//!
//! After the delay of the [`Schedule`], or as long as the server asks
//! ([`Hints`]), whichever is longer. When it asks for more than
//! [`Hints::max`], or the next attempt would start past the
//! [`deadline`](RetryLayer::deadline), the answer at hand is returned at once.
//! So it is when the [`Budget`] is spent. [`RetryInfo`] in the response's
//! extensions says which it was.
//!
//! # What is refused on this side
//!
//! An open breaker or a full limiter has sent nothing, so what it refuses takes
//! no attempt, and nothing of the budget: attempts are what the server may have
//! seen. The attempt is made again as soon as the refusal says, and up to half as
//! long later, so that not all who wait come back at once; or after the delay of
//! the schedule, whichever is longer. A call waits so until its deadline, and
//! where there is none, until all delays come to [`Hints::max`]. So set a deadline where a call
//! is to outlast a breaker that is open for long.
//!
//! A deadline is the earlier one of the layer's and of the
//! [`Deadline`](palisade_core::Deadline) that the request carries.
//!
//! Further attempts carry an [`Attempt`](palisade_core::Attempt) in theirs, which
//! says how often the request was sent before, and the deadline, so that layers
//! further in hold nothing up for longer.
//!
//! # Bodies
//!
//! Request bodies are cloned ([`CloneBody`]): free for bodies in memory, such
//! as `Full<Bytes>`. [`RetryLayer::replay`] takes all others, and keeps what
//! is read of them up to a cap. The failed response is read to its end during
//! the wait ([`RetryLayer::drain`]), so that the next attempt can use the
//! connection. A response is an answer when its head is there;
//! [`ReadAheadLayer`] inside makes a body that breaks off a failure too.
//!
//! # Where to put it
//!
//! Outside of everything that should happen once per attempt (rate limits,
//! credentials, a timeout of an attempt, unless it is
//! [`attempt_timeout`](RetryLayer::attempt_timeout)), inside of what should
//! happen once per call (a total timeout, a cache).
//!
//! Around `reqwest::Client`, whose requests and responses are its own, put
//! `filter` and `map_response` of `ServiceBuilder` in between, with the
//! conversions of reqwest. On a server, as around an axum router, bodies do
//! not clone: add [`replay`](RetryLayer::replay).
//!
//! To name the type, write `Retry<S>`, or `Retry<S, Rules<HttpClassify<Boxed>>>`
//! where the inner service's error is a [`BoxError`](palisade_core::BoxError);
//! [`Rules`] lists the parameters that setters change.
//!
//! ```
//! use palisade_core::{Boxed, HttpClassify};
//! use palisade_retry::{Retry, RetryLayer, Rules};
//! use tower::{Layer, timeout::Timeout};
//!
//! struct Api<C> {
//!     plain: Retry<C>,
//!     timed: Retry<Timeout<C>, Rules<HttpClassify<Boxed>>>,
//! }
//!
//! fn api<C: Clone>(client: C) -> Api<C> {
//!     let timed = Timeout::new(client.clone(), std::time::Duration::from_secs(5));
//!     Api { plain: RetryLayer::http().layer(client), timed: RetryLayer::http().layer(timed) }
//! }
//! # let Api { plain, timed } = api(());
//! ```
//!
//! # Cost
//!
//! A request that is not retried costs one allocation, in which its head is
//! kept, and a clone of its extensions (some allocations, if there are any), of
//! its body and of the inner service. One that may not be
//! retried, as by [`IdempotentOnly`], costs a look at its method and headers.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `hyper` | yes | tells the errors of hyper, hyper-util and h2 apart |
//! | `tower` | yes | tells the errors of tower's timeout, load shed and buffer apart; `HttpPolicy`, `tower_backoff`, `tower_budget` |
//! | `rustls` | no | tells the errors of rustls apart |
//! | `idempotency-key` | no | `random_key` |
//!
//! An error that no feature knows is taken for one that does not pass.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod attempts;
mod bodies;
mod budget;
mod error;
mod future;
mod hints;
mod info;
#[cfg(feature = "idempotency-key")]
mod key;
mod layer;
mod plan;
mod read_ahead;
mod requests;
mod retrying;
mod rules;
mod service;
mod sync;
mod timeout;
#[cfg(feature = "tower")]
mod tower;
mod wait;

#[cfg(feature = "idempotency-key")]
pub use self::key::random_key;
#[cfg(feature = "tower")]
pub use self::tower::{HttpPolicy, TowerBackoff, TowerBudget, tower_backoff, tower_budget};
pub use self::{
    bodies::{Bodies, CloneBody, ReplayBodies},
    budget::{
        Budget, InFlightAccount, InFlightBudget, InFlightTicket, KeyedAccount, KeyedBudget, Ticket,
        TokenBudget, TokenTicket, Unlimited, WindowBudget, WindowTicket,
    },
    error::AttemptTimedOut,
    future::ResponseFuture,
    hints::{HintSource, Hints},
    info::{RetryInfo, RetryOverride, Stop},
    layer::RetryLayer,
    read_ahead::{BodyLost, ReadAhead, ReadAheadBody, ReadAheadFuture, ReadAheadLayer},
    requests::{ByMethod, IdempotentOnly, Repeatable, Requests, RequestsFn, requests_fn},
    rules::{Rules, WhenUnready},
    service::Retry,
    timeout::{AttemptLimit, AttemptTimeout, AttemptTimer, NoTimeout},
};
pub use palisade_settings::{
    Backoff, Chain, InvalidSetting, Jitter, Schedule, ScheduleFn, Step, schedule_fn,
};
