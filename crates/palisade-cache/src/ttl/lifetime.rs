use std::{fmt, sync::Arc, time::Duration};

/// How long an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no other time than these")]
pub enum Ttl {
    /// For so long.
    For(Duration),
    /// Not at all. It is given to those who wait for it, though.
    Never,
    /// Until there is no place for it any more.
    Forever,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}

/// Says how long an answer is kept.
///
/// A [`Ttl`] is the same for all; [`ttl_fn`] goes by the key and the response.
pub trait Lifetime<K, Res> {
    /// How long to keep this response to requests with this key.
    fn ttl(&self, key: &K, response: &Res) -> Ttl;
}

impl<K, Res> Lifetime<K, Res> for Ttl {
    #[inline]
    fn ttl(&self, _: &K, _: &Res) -> Ttl {
        *self
    }
}

impl<K, Res, T: Lifetime<K, Res> + ?Sized> Lifetime<K, Res> for Arc<T> {
    fn ttl(&self, key: &K, response: &Res) -> Ttl {
        (**self).ttl(key, response)
    }
}

/// Says by a function how long an answer is kept.
///
/// It is given the key, and not the request, which the inner service has taken.
///
/// ```
/// use std::time::Duration;
/// use http::{Response, StatusCode};
/// use palisade_cache::{Lifetime, Ttl, ttl_fn};
///
/// // What is not there may come soon; what is there stays as it is.
/// let ttl = ttl_fn(|_: &u64, response: &Response<()>| match response.status() {
///     StatusCode::OK => Ttl::Forever,
///     StatusCode::NOT_FOUND => Ttl::For(Duration::from_secs(2)),
///     _ => Ttl::Never,
/// });
/// assert_eq!(ttl.ttl(&7, &Response::new(())), Ttl::Forever);
/// ```
pub fn ttl_fn<K, Res, F>(ttl: F) -> TtlFn<F>
where
    F: Fn(&K, &Res) -> Ttl,
{
    TtlFn(ttl)
}

/// Made by [`ttl_fn`].
#[derive(Clone, Copy)]
pub struct TtlFn<F>(F);

impl<K, Res, F> Lifetime<K, Res> for TtlFn<F>
where
    F: Fn(&K, &Res) -> Ttl,
{
    fn ttl(&self, key: &K, response: &Res) -> Ttl {
        self.0(key, response)
    }
}

impl<F> fmt::Debug for TtlFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TtlFn(..)")
    }
}
