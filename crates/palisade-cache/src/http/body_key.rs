//! Requests that are told apart by their bodies.

use std::{
    fmt,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use http::{
    Request,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body::Body;

use super::secret::{Key, Secret};

/// Says what identifies the body of a request, so that responses to POST and
/// QUERY can be stored as those to GET are.
pub trait BodyKey<Q> {
    /// What identifies the body; nothing, if the response is not to be stored.
    /// Asked for POST and QUERY alone.
    fn key(&self, request: &Request<Q>) -> Option<u128>;
}

/// No body is looked at: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unread;

impl<Q> BodyKey<Q> for Unread {
    fn key(&self, _: &Request<Q>) -> Option<u128> {
        None
    }
}

/// Bodies that are in memory, up to a number of bytes: method, media type and
/// bytes, as a hash of 128 bits that is keyed with a [`Secret`].
///
/// A POST that is keyed like this counts as one that changes nothing, as those
/// of GraphQL queries do: say by [`only`](Self::only) which do.
///
/// ```
/// use palisade_cache::{HttpCacheLayer, InMemory, MemoryStore};
///
/// let graphql = InMemory::new(64 << 10).only(|path| path == "/graphql");
/// let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).bodies(graphql);
/// # let _ = layer;
/// ```
#[derive(Clone)]
#[must_use]
pub struct InMemory<F = fn(&str) -> bool> {
    most: usize,
    only: F,
    key: Key,
}

impl InMemory {
    /// Bodies of so many bytes at most, whatever the request is for.
    pub fn new(most: usize) -> Self {
        Self { most, only: |_| true, key: key_of(&Secret::random()) }
    }
}

impl<F> InMemory<F> {
    /// Sets for which paths. Defaults to all.
    pub fn only<G: Fn(&str) -> bool>(self, only: G) -> InMemory<G> {
        InMemory { most: self.most, only, key: self.key }
    }

    /// Sets what the hashes are keyed with. Defaults to a secret that no other
    /// process has: those that share a store need the same.
    pub fn secret(self, secret: &Secret) -> Self {
        Self { key: key_of(secret), ..self }
    }
}

impl<Q, F> BodyKey<Q> for InMemory<F>
where
    Q: Body + Clone,
    F: Fn(&str) -> bool,
{
    fn key(&self, request: &Request<Q>) -> Option<u128> {
        let body = request.body();
        let most = self.most as u64;
        let small = body.size_hint().upper().is_some_and(|upper| upper <= most);
        if !small || !(self.only)(request.uri().path()) {
            return None;
        }
        let mut hash = self.key.hash();
        hash.write_field(request.method().as_str().as_bytes());
        for name in [CONTENT_TYPE, CONTENT_ENCODING] {
            for value in request.headers().get_all(&name) {
                hash.write_field(name.as_str().as_bytes());
                hash.write_field(value.as_bytes());
            }
        }
        hash.write_field(b"");
        let mut body = pin!(body.clone());
        let mut read = 0;
        // What is in memory does not make anybody wait.
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            let mut data = match body.as_mut().poll_frame(cx) {
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok()?,
                _ => return None,
            };
            while data.has_remaining() {
                let chunk = data.chunk();
                read += chunk.len();
                hash.write(chunk);
                data.advance(chunk.len());
            }
            if self.most < read {
                return None;
            }
        }
        Some(u128::from_le_bytes(hash.finish()))
    }
}

fn key_of(secret: &Secret) -> Key {
    secret.key("body")
}

impl<F> fmt::Debug for InMemory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").field("most", &self.most).finish_non_exhaustive()
    }
}
