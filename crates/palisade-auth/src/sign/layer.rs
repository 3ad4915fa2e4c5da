use std::{fmt, sync::Arc};

use http::request::Parts;
use palisade_core::{Observed, Observer, ObserverSlot, Origins};
use tower_layer::Layer;

use super::{BodyDigest, Sign, Signable, Signed, Signing};
use crate::{Clock, CoarseClock};

/// Signs requests, each attempt anew.
///
/// It belongs below all layers that send a request again or change it, such as
/// retries and [`AuthLayer`](crate::AuthLayer): so a second try has a signature of its
/// own, by the time that it is then, and over the token that it carries.
///
/// Bodies that are in memory are read while the request is sent; those that stream
/// are refused, unless they [may be unsigned](Self::allow_unsigned_bodies). Other
/// than a token, a signature is good for one request, so it may go over plain http.
///
/// See [`Sign`] for an example. Clones, and the services of repeated
/// [`layer`](Layer::layer) calls, share the signer.
#[must_use]
pub struct SignLayer<G> {
    rules: Arc<Rules<G>>,
}

/// What the services of a layer share.
pub(super) struct Rules<G> {
    signer: Arc<G>,
    pub(super) origins: Origins,
    pub(super) outside_fails: bool,
    pub(super) unsigned_bodies: bool,
    pub(super) longest_body: u64,
    clock: Arc<dyn Clock>,
    pub(super) observer: ObserverSlot,
}

impl<G: Sign> SignLayer<G> {
    /// Signs requests to these origins. Others are sent as they are, and so are those
    /// with [`AuthBypass`](crate::AuthBypass).
    pub fn new(signer: G, origins: Origins) -> Self {
        let rules = Rules {
            signer: Arc::new(signer),
            origins,
            outside_fails: false,
            unsigned_bodies: false,
            longest_body: 16 * 1024 * 1024,
            clock: Arc::new(CoarseClock),
            observer: ObserverSlot::default(),
        };
        Self { rules: Arc::new(rules) }
    }
}

impl<G> SignLayer<G> {
    /// Has requests to other origins fail. By default they are sent unsigned.
    pub fn fail_outside(self) -> Self {
        self.set(|rules| rules.outside_fails = true)
    }

    /// Lets a body that streams be sent, and tells the signer that it is
    /// [unread](BodyDigest::Unread), which the other side has to know as well, as by
    /// `UNSIGNED-PAYLOAD` of AWS. By default such a request fails.
    pub fn allow_unsigned_bodies(self) -> Self {
        self.set(|rules| rules.unsigned_bodies = true)
    }

    /// Sets how many bytes of a body are read at most; a longer one counts as one
    /// that streams. It is read without a pause, so a very long one keeps its thread
    /// busy. Defaults to 16 MiB.
    pub fn longest_body(self, bytes: u64) -> Self {
        self.set(|rules| rules.longest_body = bytes)
    }

    /// Sets the clock of signatures. Defaults to [`CoarseClock`].
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        self.set(|rules| rules.clock = Arc::new(clock))
    }

    /// Sets who is told of requests that are not sent. Defaults to nobody. It must not
    /// panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|rules| rules.observer = observer.into())
    }

    fn set(self, change: impl FnOnce(&mut Rules<G>)) -> Self {
        let mut rules = Arc::unwrap_or_clone(self.rules);
        change(&mut rules);
        Self { rules: Arc::new(rules) }
    }
}

impl<G: Sign> Rules<G> {
    pub(super) fn signer(&self) -> &G {
        &self.signer
    }

    pub(super) fn sign(&self, head: &mut Parts, body: BodyDigest) -> Signing<G::Wait> {
        let Parts { method, uri, headers, .. } = head;
        self.signer.sign(&mut Signable { method, uri, headers, body, clock: &*self.clock })
    }
}

impl<G> Clone for Rules<G> {
    fn clone(&self) -> Self {
        Self {
            signer: Arc::clone(&self.signer),
            origins: self.origins.clone(),
            clock: Arc::clone(&self.clock),
            observer: self.observer.clone(),
            ..*self
        }
    }
}

impl<G> Observed for SignLayer<G> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.observer.fill(observer);
        self
    }
}

impl<G> Clone for SignLayer<G> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

/// A signer may have a key that its own `Debug` shows.
impl<G> fmt::Debug for SignLayer<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignLayer")
            .field("origins", &self.rules.origins)
            .field("unsigned_bodies", &self.rules.unsigned_bodies)
            .finish_non_exhaustive()
    }
}

impl<S, G> Layer<S> for SignLayer<G> {
    type Service = Signed<S, G>;

    fn layer(&self, inner: S) -> Self::Service {
        Signed::new(inner, Arc::clone(&self.rules))
    }
}
