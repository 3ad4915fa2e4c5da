use std::time::Instant;

use crate::Limited;

/// What a layer takes tokens from: a [`Limiter`](crate::Limiter), or one whose
/// tokens are kept elsewhere, such as in a store that several processes share.
///
/// Another one comes into a layer by a [`Scope`](crate::Scope) of its own, which
/// finds it for a request. All that a layer does around it stays: costs,
/// refusals, deadlines, tokens that are given back when nothing is sent.
///
/// ```
/// use std::{
///     convert::Infallible, future::{Ready, ready}, sync::{Arc, atomic::{AtomicU32, Ordering}}, time::Instant,
/// };
/// use palisade_rate_limit::{
///     Assign, Begin, Found, Limit, Limited, LimitedReason, Quota, RateLimitLayer, Scope, Template,
/// };
/// use tower::{Layer, ServiceExt, service_fn};
///
/// /// So many calls in all.
/// #[derive(Clone)]
/// struct Only(Arc<AtomicU32>);
///
/// impl Limit for Only {
///     type Acquire = Ready<Result<(), Limited>>;
///
///     fn begin(&self, cost: u32) -> Begin {
///         let less = |left: u32| left.checked_sub(cost);
///         match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
///             Ok(_) => Begin::Go,
///             Err(_) => Begin::Refuse(Limited::new(LimitedReason::Exhausted, None)),
///         }
///     }
///
///     fn acquire(&self, _: u32, _: Option<Instant>) -> Self::Acquire {
///         unreachable!("nobody is told to wait")
///     }
///
///     fn give_back(&self, cost: u32) {
///         self.0.fetch_add(cost, Ordering::Relaxed);
///     }
/// }
///
/// impl Scope for Only {
///     type Limiter = Self;
///
///     fn renew(self, _: &Template) -> Self {
///         self
///     }
/// }
///
/// impl<Req> Assign<Req> for Only {
///     fn limiter<'a>(&'a self, _: &Req) -> Found<'a, Self> {
///         Found::One(self)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let only = Only(Arc::new(AtomicU32::new(1)));
/// let service = RateLimitLayer::new(Quota::UNLIMITED)
///     .scope(only)
///     .layer(service_fn(|(): ()| async { Ok::<_, Infallible>("hello") }));
/// assert!(service.clone().oneshot(()).await.is_ok());
/// assert!(service.oneshot(()).await.is_err());
/// # }
/// ```
pub trait Limit: Clone {
    /// Waits for tokens. Dropped before it is ready, it has taken nothing.
    type Acquire: Future<Output = Result<(), Limited>> + Unpin;

    /// A request comes, for so many tokens. It must not block: what has to ask
    /// somebody else says that it waits.
    fn begin(&self, cost: u32) -> Begin;

    /// Takes so many tokens when they are there, for one that is to wait. With a
    /// deadline, it fails at once if that would be later.
    fn acquire(&self, cost: u32, deadline: Option<Instant>) -> Self::Acquire;

    /// Takes back tokens for which nothing was sent.
    fn give_back(&self, cost: u32);
}

/// What becomes of a request at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a layer does one of these")]
pub enum Begin {
    /// It has its tokens.
    Go,
    /// It has to [wait](Limit::acquire) for them.
    Wait,
    /// It is refused.
    Refuse(Limited),
}
