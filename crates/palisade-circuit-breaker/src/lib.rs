//! A [tower](tower_service) layer that stops calling a service that fails, and
//! finds out with a few calls when it works again.
//!
//! ```
//! use std::{sync::{Arc, atomic::{AtomicBool, Ordering}}, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use palisade_circuit_breaker::{Backoff, CircuitBreakerLayer, HalfOpen, Jitter, Open, State, Trip, Window};
//! use palisade_core::{BoxError, find_cause};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client: it answers 503 while the service is down.
//! let down = Arc::new(AtomicBool::new(true));
//! let is_down = down.clone();
//! let api = service_fn(move |_: Request<String>| {
//!     let mut response = Response::new(String::new());
//!     if is_down.load(Ordering::Relaxed) {
//!         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     async { Ok::<_, BoxError>(response) }
//! });
//!
//! let layer = CircuitBreakerLayer::http()
//!     .trip(Trip::consecutive(5).or(Trip::failure_rate(0.5).window(Window::count(100))))
//!     .open_for(Backoff::exponential(Duration::from_secs(5)).jitter(Jitter::None))
//!     .half_open(HalfOpen::permits(1));
//! let breaker = layer.handle();
//! let client = ServiceBuilder::new().layer(layer).service(api);
//! let call = || client.clone().oneshot(Request::new(String::new()));
//!
//! // Five failures in a row are enough: the sixth call is not made.
//! for _ in 0..5 {
//!     assert_eq!(call().await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//! }
//! let error = call().await.unwrap_err();
//! let open = find_cause::<Open>(&*error).expect("the breaker is open");
//! assert_eq!(open.retry_after(), Some(Duration::from_secs(5)));
//!
//! // Five seconds later one call is let in. It succeeds, and all others follow.
//! down.store(false, Ordering::Relaxed);
//! tokio::time::advance(Duration::from_secs(5)).await;
//! assert_eq!(call().await?.status(), StatusCode::OK);
//! assert_eq!(breaker.state(), State::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! # States
//!
//! ```text
//!             too many failures                      its time is over,
//!             or slow calls: Trip                    and a call comes
//!   +--------+ ---------------> +------+ -----------------------------> +-----------+
//!   | closed |                  | open |      a probe failed, or        | half-open |
//!   +--------+ <------+         +------+ <---- has not ended in time -- +-----------+
//!       ^             |            ^                                          |
//!       |             |            | too many failures                        |
//!       | its time    |            |                                          |
//!       | is over     |       +---------+                                     |
//!       +-------------+------ | ramp-up | <------ enough probes succeeded ----+
//!                     |       +---------+                                     |
//!                     +---------------- or, where there is no ramp-up --------+
//! ```
//!
//! | state | calls | ends |
//! |---|---|---|
//! | [closed](State::Closed) | all are admitted | when [`Trip`] says so |
//! | [open](State::Open) | all are refused | after [`open_for`](CircuitBreakerLayer::open_for), or what `Retry-After` [asks](CircuitBreakerLayer::retry_after), with the next call |
//! | [half-open](State::HalfOpen) | as many as [`HalfOpen::permits`] are admitted | as soon as these decide, or with the first call after [`HalfOpen::timeout`] |
//! | [ramp-up](State::RampUp) | a share is admitted, a tenth at first, growing | after [`ramp_up`](CircuitBreakerLayer::ramp_up), or as closed |
//! | [forced open](State::ForcedOpen) | all are refused | by [`reset`](CircuitBreakerHandle::reset) |
//! | [disabled](State::Disabled) | all are admitted, none counts | by [`reset`](CircuitBreakerHandle::reset) |
//!
//! Each change begins a new generation: a call that was let in before it, and
//! ends after it, changes nothing. Times end when a call comes; there is no
//! timer and no task. Any of this can be rehearsed:
//! [`observe_only`](CircuitBreakerLayer::observe_only) goes through the states
//! and refuses nothing.
//!
//! # What counts
//!
//! | outcome | in a row | for the rate | of a probe |
//! |---|---|---|---|
//! | `Success`, `Rejected`: 2xx, 404 | ends the row | success | success |
//! | `Transient`, `Failed`, `Unsent`: 5xx, no connection, timeout, reset | failure | failure | failure |
//! | `Throttled`: 429 | nothing | failure | failure |
//! | `Refused`, `Ignored`: an inner limiter refused, the caller's body broke off | nothing | nothing | nothing, its permit is free again |
//!
//! The verdict is [`Classify`](palisade_core::Classify)'s
//! ([`CircuitBreakerLayer::classify`]). Besides, a panic of the service is a
//! failure, and so is an error of its readiness; a call that is dropped counts
//! by [`OnCancel`]; and [`at_body_end`](CircuitBreakerLayer::at_body_end) counts
//! bodies that break off.
//!
//! # Refusals
//!
//! A call that is refused fails with [`Open`], as a
//! [`BoxError`](palisade_core::BoxError). With [`respond_fn`] it gets a response
//! instead, and the error type stays that of the inner service. So it goes under
//! axum, whose services must not fail:
//! `router.layer(CircuitBreakerLayer::http().on_refusal(respond_fn(Open::response)))`.
//! With [`backpressure`](CircuitBreakerLayer::backpressure) it waits.
//!
//! # Where to put it
//!
//! Inside of retry, which knows an [`Open`] and waits for it if there is time;
//! outside of the timeout of an attempt, so that it sees what times out. One for
//! each host ([`keyed`](CircuitBreakerLayer::keyed)) where there are several.
//!
//! Inside of what makes calls wait, such as a rate limit. A call that is let in
//! and then stands in line takes time that is not the service's: a probe holds up
//! all others meanwhile, and counts as failed in the end; and those in line when
//! the breaker opens are sent all the same. What is refused should not stand in
//! line either, or take a token: for that, put the [`gate`](CircuitBreakerLayer::gate)
//! of the breaker outside of the limit.
//!
//! ```
//! use std::time::Duration;
//! use palisade_circuit_breaker::CircuitBreakerLayer;
//! use palisade_core::BoxError;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let api = service_fn(|_: http::Request<String>| async { Ok::<_, BoxError>(http::Response::new(String::new())) });
//! let breaker = CircuitBreakerLayer::http();
//! let client = ServiceBuilder::new()
//!     .layer(breaker.gate())
//!     .rate_limit(100, Duration::from_secs(1))
//!     .layer(breaker)
//!     .service(api);
//! # client.oneshot(http::Request::new(String::new())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting
//!
//! Retry outside is what waits for a breaker: it sees the refusal, and has a
//! deadline. [`backpressure`](CircuitBreakerLayer::backpressure) is for what looks
//! for another service that is ready. Breakers by key have none: which one a call
//! will ask is not known before it comes.
//!
//! Around `reqwest::Client`, whose requests and responses are its own, put
//! `filter` and `map_response` of `ServiceBuilder` in between, with the
//! conversions of reqwest.
//!
//! The types that layers share are those of
//! [palisade-core](palisade_core). To name the type of a service, write
//! `CircuitBreaker<S, HttpClassify>`, with a breaker for each host
//! `CircuitBreaker<S, HttpClassify, Keyed<ByAuthority>>`; `HttpClassify<Boxed>`
//! where the inner service's error is a [`BoxError`](palisade_core::BoxError).
//!
//! # Cost
//!
//! A call that succeeds takes no lock and allocates nothing. Besides the counts
//! of the pointers that its future holds, it writes one word that threads share,
//! or none where only failures in a row count; the clock is
//! read only for a window of time, for slow calls, and for
//! [`OnCancel::FailureAfter`]. A key costs a hash and a shared lock of a few
//! nanoseconds. A breaker over 100 calls takes some 130 bytes, one over 10
//! buckets of time some 250, and half again if slow calls count.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `hyper` | yes | tells the errors of hyper, hyper-util and h2 apart |
//! | `tower` | yes | tells the errors of tower's timeout, load shed and buffer apart |
//! | `rustls` | no | tells the errors of rustls apart |
//!
//! An error that no feature knows counts as a failure.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod backpressure;
mod breaker;
mod error;
mod future;
mod gate;
mod half_open;
mod handle;
mod keyed;
mod layer;
mod mark;
#[cfg(all(test, any(palisade_loom, palisade_shuttle)))]
mod model;
mod ongoing;
mod ramp;
mod record;
mod refusal;
mod scope;
mod service;
mod settings;
mod state;
mod sync;
mod trip;
mod window;
mod word;

pub use self::{
    backpressure::{Backpressure, BackpressureLayer},
    error::{Open, OpenReason},
    future::{CallFuture, ResponseFuture},
    gate::{Gate, GateFuture, GateLayer},
    half_open::HalfOpen,
    handle::{CircuitBreakerHandle, Permit, Snapshot, StateWatch},
    keyed::{Breakers, Keyed},
    layer::{CircuitBreakerLayer, ErrorsFail},
    record::{AtBodyEnd, AtHead, RecordAt, ResponseBody},
    refusal::{OnRefusal, Refuse, RespondFn, respond_fn},
    scope::{Assign, Scope, Single, Template},
    service::CircuitBreaker,
    settings::OnCancel,
    state::State,
    trip::Trip,
    window::Window,
};
pub use palisade_settings::{Backoff, InvalidSetting, Jitter, Schedule, Step, schedule_fn};
