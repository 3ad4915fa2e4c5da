//! [Tower](tower_service) layers that limit the rate of requests, and how many
//! are in flight: fair, keyed, weighted.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use palisade_core::{BoxError, ByAuthority};
//! use palisade_rate_limit::{Quota, RateLimitLayer, Wait};
//! use tokio::time::Instant;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client.
//! let api = service_fn(|_: Request<String>| async {
//!     Ok::<_, Infallible>(Response::new("hello".to_owned()))
//! });
//!
//! let limit = RateLimitLayer::new(Quota::per_second(100).burst(10))
//!     .and(Quota::per_hour(5000))
//!     .wait(Wait::up_to(Duration::from_secs(10)))
//!     .keyed(ByAuthority);
//! let client = ServiceBuilder::new().layer(limit).service(api);
//!
//! let start = Instant::now();
//! for page in 0..30 {
//!     let request = Request::get(format!("https://api.example/users?page={page}")).body(String::new())?;
//!     client.clone().oneshot(request).await?;
//! }
//! // Ten at once, and then one each 10 ms.
//! assert_eq!(start.elapsed(), Duration::from_millis(200));
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! A [`Quota`] is a token bucket, by the arithmetic of [`governor`]; there may be
//! several, of which a request passes all or takes from none. A limiter is one
//! for all requests, or [one for each key](Keyed).
//!
//! Who comes first is let go first, whatever it costs. Only the first one in
//! line holds a timer, so a thousand that wait wake nobody in vain. Who leaves
//! the line takes nothing along. Who would have to wait for longer than
//! [`Wait`] allows is refused at once, with the time until another try makes
//! sense, which retry layers find.
//!
//! The [`Limiter`] of a layer is also its handle: it can be paused, retuned, and
//! emptied, tokens can be charged and refunded; and it works without a layer.
//!
//! # Requests in flight
//!
//! [`ConcurrencyLimitLayer`] limits how many requests are in flight, to the end
//! of their bodies: by a number, or by one that is found out. [`Aimd`] goes by
//! what the service drops, [`Gradient2`] by how long it takes. Who is over the
//! limit waits in the same kind of line.
//!
//! ```
//! # use std::convert::Infallible;
//! # use http::{Request, Response, StatusCode};
//! # use palisade_core::{BoxError, ByAuthority};
//! # use palisade_rate_limit::{Aimd, ConcurrencyLimitLayer};
//! # use tower::{Layer, ServiceExt, service_fn};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let limit = ConcurrencyLimitLayer::adaptive(Aimd::new(20).bounds(2..=200)).keyed(ByAuthority);
//! # let api = service_fn(|_: Request<String>| async {
//! #     let busy = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
//! #     Ok::<_, Infallible>(busy.body(String::new()).unwrap())
//! # });
//! let client = limit.layer(api);
//! let request = Request::get("https://busy.example/").body(String::new())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
//!
//! let host = Some("busy.example".to_owned());
//! let limiter = limit.limiters().get(&host).ok_or("nobody has called it")?;
//! assert_eq!(limiter.snapshot().limit, 18);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod acquire;
mod admit;
mod answer;
mod backpressure;
mod bucket;
mod client;
mod clock;
mod concurrency;
mod cost;
mod error;
mod feedback;
mod fields;
mod flight;
mod future;
mod granted;
mod kept;
mod keyed;
mod layer;
mod limit;
mod limiter;
mod limits;
mod line;
mod quota;
mod refusal;
mod scope;
mod server;
mod service;
mod settle;
mod shared;
mod sync;
mod wait;
mod window;

pub use self::{
    acquire::Acquire,
    answer::{Answered, OnAnswer, PassOn},
    backpressure::{Backpressure, BackpressureLayer},
    client::ByClient,
    concurrency::{
        AcquirePermit, Aimd, ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimiter,
        ConcurrencyLimiters, ConcurrencySnapshot, Fixed, Gradient2, HoldPermit, LimitAlgorithm,
        LimitOf, LimitPerKey, LimitScope, OneLimit, Permit, PermitBody, PermitFuture, Sample,
        Unjudged, UntilBodyEnd, UntilHead, Verdict,
    },
    cost::{Cost, CostFn, CostOf, InExtensions, One, UntilDeadline, cost_fn},
    error::{Limited, LimitedReason},
    feedback::{Feedback, Heard, Learn, LearnFn, Signal, Standard, learn_fn},
    fields::Advertise,
    flight::Flight,
    future::ResponseFuture,
    keyed::{Keyed, Limiters, QuotaFn, QuotaFor, SameForAll},
    layer::RateLimitLayer,
    limit::{Begin, Limit},
    limiter::{Limiter, LimiterSnapshot},
    limits::OverBurst,
    quota::Quota,
    refusal::{OnRefusal, Refuse, RespondFn, respond_fn},
    scope::{Assign, Found, Scope, Single, Template},
    service::RateLimit,
    settle::{Settle, SettleFn, Settling, Unsettled, settle_fn},
    wait::Wait,
};
