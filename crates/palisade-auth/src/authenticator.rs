use std::sync::Arc;

use http::{Request, Response, header::AUTHORIZATION};
use palisade_core::Observer;

use crate::AuthError;

/// Puts credentials on requests: what is on the path of each of them.
///
/// Clones are the same.
pub trait Authenticator: Clone + Send + Sync + 'static {
    /// Waits until there are credentials, or others.
    type Wait: Future<Output = Result<(), AuthError>> + Send + 'static;

    /// Whether a request has credentials of its caller already. Defaults to
    /// whether it has a field `Authorization`.
    fn has_own<B>(&self, request: &Request<B>) -> bool {
        request.headers().contains_key(AUTHORIZATION)
    }

    /// Whether there may be others once some were refused; if not, nothing is
    /// kept of requests, and a 401 stands. Defaults to true.
    fn may_change(&self) -> bool {
        true
    }

    /// Tells this observer what becomes of the credentials, if nobody is told.
    /// Defaults to telling nobody.
    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        let _ = observer;
    }

    /// Puts them on a request, if they are there.
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Self::Wait>;

    /// The credentials of a request were refused: it was answered with a 401.
    fn refused<B>(&self, stamp: Stamp, response: &Response<B>) -> Refused<Self::Wait>;
}

/// What became of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Applied<W> {
    /// It has its credentials.
    Done(Stamp),
    /// There are none yet: wait, and apply again.
    Wait(W),
    /// There are none.
    Failed(AuthError),
}

/// What is to be done about a 401.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused<W> {
    /// Nothing: it is answered.
    Final,
    /// There are others by now: the request is sent once more.
    Replay,
    /// Wait for others, and send the request once more.
    Wait(W),
}

/// Which credentials a request got, so that those that were refused are told from
/// those that have taken their place since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    slot: u64,
    generation: u64,
}

impl Stamp {
    /// Of credentials that never change.
    pub const FIXED: Self = Self::new(0, 0);

    /// The credentials of one slot, by the number of their generation.
    pub const fn new(slot: u64, generation: u64) -> Self {
        Self { slot, generation }
    }

    /// Where they came from.
    pub fn slot(self) -> u64 {
        self.slot
    }

    /// Higher for those that came later.
    pub fn generation(self) -> u64 {
        self.generation
    }
}
