//! The vocabulary that palisade's layers share.
//!
//! A layer asks a [`Classify`] for its verdict on a result, and gets an
//! [`Outcome`] that means the same to retry, breaker, limiter and metrics:
//!
//! ```
//! use std::io;
//! use http::{Response, StatusCode};
//! use palisade_core::{Classify, HttpClassify, Outcome};
//!
//! let classify = HttpClassify::new();
//!
//! let mut response = Response::new(());
//! *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//! assert_eq!(classify.classify(Ok::<_, &io::Error>(&response)), Outcome::Transient);
//!
//! let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
//! assert_eq!(classify.classify(Err::<&Response<()>, _>(&refused)), Outcome::Unsent);
//! ```
//!
//! # What is here
//!
//! | for | items |
//! |---|---|
//! | verdicts | [`Outcome`], [`Classify`], [`classify_fn`], [`HttpClassify`], [`Redirected`] |
//! | errors | [`BoxError`], [`find_cause`], [`causes`], [`ErrorKind`], [`is_unsent`], [`Refusal`], [`Fault`] |
//! | observation | [`Observer`], [`Event`], [`Target`], [`Observed`], [`ObserverSlot`] |
//! | requests | [`Endpoint`], [`Attempt`], [`Head`], [`HeadCopy`], [`Origins`], [`KeyBy`] and its `By..` types, [`is_safe`], [`is_idempotent`], [`Idempotent`], [`Identity`], [`is_secret`] |
//! | responses | [`is_stream`] |
//! | time | [`RetryAfter`], [`Deadline`], [`WallClock`] |
//!
//! No runtime, no I/O, no policy: what to do with a verdict is up to a layer.
//!
//! # Features
//!
//! None is on by default. Each teaches [`ErrorKind`] the errors of other crates:
//! `hyper` those of hyper, hyper-util and h2; `rustls`; `tower` those of
//! tower's timeout, load shed and buffer, and of tokio's timeout.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod attempt;
mod classify;
mod copy;
mod deadline;
mod endpoint;
mod error;
mod event;
mod foreign;
mod head;
mod idempotent;
mod identity;
mod key;
mod kind;
mod method;
mod now;
mod observed;
mod origins;
mod outcome;
mod redirected;
mod retry_after;
mod secret;
mod stream;
mod time;

pub use self::{
    attempt::Attempt,
    classify::{HttpClassify, Trailers},
    copy::HeadCopy,
    deadline::Deadline,
    endpoint::Endpoint,
    error::{BoxError, Boxed, ErrorRef, Fault, Refusal, Typed, causes, find_cause},
    event::{Cause, Event, Observer, Target},
    head::Head,
    idempotent::Idempotent,
    identity::Identity,
    key::{ByAuthority, ByEndpoint, ByExtension, ByHeader, KeyBy, KeyFn, KeyRef, OwnedKey, key_fn},
    kind::{ErrorKind, is_unsent},
    method::{is_idempotent, is_safe},
    now::Now,
    observed::{Observed, ObserverSlot},
    origins::{InvalidOrigin, Origins},
    outcome::{Classify, ClassifyFn, Outcome, classify_fn},
    redirected::Redirected,
    retry_after::{RetryAfter, date_of, parse_seconds},
    secret::is_secret,
    stream::is_stream,
    time::{SystemClock, WallClock},
};
