//! Where tokens come from.

use std::{pin::Pin, sync::Arc};

use palisade_core::Observer;

use crate::{AuthError, Chain, Moment, Token};

/// A future of a token.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send + 'a>>;

/// Where tokens come from: a grant, a file, a function.
///
/// It is asked by one at a time, never on the path of a request that has a fresh
/// token, so its future is boxed, and `Arc<dyn TokenSource>` is one too.
pub trait TokenSource: Send + Sync + 'static {
    /// Gets a token.
    ///
    /// # Errors
    ///
    /// If there is none, with what can be done about it.
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a>;

    /// Tells this observer what becomes of what it keeps, if nobody is told.
    /// Defaults to telling nobody.
    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        let _ = observer;
    }

    /// This one, or else another one, if this one cannot be used: see [`Chain`].
    fn or<S: TokenSource>(self, other: S) -> Chain
    where
        Self: Sized,
    {
        Chain::new(self).or(other)
    }
}

impl<S: TokenSource + ?Sized> TokenSource for Arc<S> {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        (**self).fetch(wanted)
    }

    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        (**self).or_observer(observer);
    }
}

/// What a source is asked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Wanted<'a> {
    /// What the token has to be good for, if the request says so, in place of what
    /// the source asks for otherwise.
    pub scope: Option<&'a str>,
    /// The token that there was before.
    pub previous: Option<&'a Token>,
    /// Why another one is wanted.
    pub reason: Reason,
    /// When it was asked for.
    pub now: Moment,
}

/// Why a token is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is none.
    Missing,
    /// The one that there is expires soon, or has expired.
    Expiring,
    /// The one that there is was refused.
    Refused,
}

impl<'a> Wanted<'a> {
    /// The first token.
    pub fn first(now: Moment) -> Self {
        Self { scope: None, previous: None, reason: Reason::Missing, now }
    }

    /// Sets what the token has to be good for. Defaults to what the source asks
    /// for.
    pub fn scope(mut self, scope: Option<&'a str>) -> Self {
        self.scope = scope;
        self
    }

    /// Sets the token that there was before, and why it does not do.
    pub fn instead_of(mut self, previous: &'a Token, reason: Reason) -> Self {
        (self.previous, self.reason) = (Some(previous), reason);
        self
    }
}
