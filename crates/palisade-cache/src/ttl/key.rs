use std::{borrow::Cow, fmt, hash::Hash, sync::Arc};

/// Says which requests have the same answer: those with the same key.
///
/// Whatever an answer depends on must be in the key: above all, whose
/// credentials the request is made with.
pub trait KeyOf<Req> {
    /// The key.
    type Key: Clone + Eq + Hash;

    /// The key of a request, borrowed if it is a part of it.
    fn key<'r>(&self, request: &'r Req) -> Cow<'r, Self::Key>;
}

impl<Req, B: KeyOf<Req> + ?Sized> KeyOf<Req> for Arc<B> {
    type Key = B::Key;

    fn key<'r>(&self, request: &'r Req) -> Cow<'r, B::Key> {
        (**self).key(request)
    }
}

/// Only a request that is the same has the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByRequest;

impl<Req: Clone + Eq + Hash> KeyOf<Req> for ByRequest {
    type Key = Req;

    #[inline]
    fn key<'r>(&self, request: &'r Req) -> Cow<'r, Req> {
        Cow::Borrowed(request)
    }
}

/// Keys requests by a function.
///
/// ```
/// use http::{Request, Uri};
/// use palisade_cache::{KeyOf, key_fn};
///
/// let by_uri = key_fn(|request: &Request<()>| request.uri().clone());
/// let request = Request::get("https://api.example/quotes/7").body(())?;
/// assert_eq!(*by_uri.key(&request), "https://api.example/quotes/7");
/// # Ok::<_, http::Error>(())
/// ```
pub fn key_fn<Req, K, F>(key: F) -> KeyFn<F>
where
    F: Fn(&Req) -> K,
{
    KeyFn(key)
}

/// Made by [`key_fn`].
#[derive(Clone, Copy)]
pub struct KeyFn<F>(F);

impl<Req, K, F> KeyOf<Req> for KeyFn<F>
where
    F: Fn(&Req) -> K,
    K: Clone + Eq + Hash + 'static,
{
    type Key = K;

    #[inline]
    fn key<'r>(&self, request: &'r Req) -> Cow<'r, K> {
        Cow::Owned(self.0(request))
    }
}

impl<F> fmt::Debug for KeyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFn(..)")
    }
}
